"""The terminal interface: clusters, their crashes, one crash."""
