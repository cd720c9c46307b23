"""What changed: when a cluster's crashes began, and which change on the machine that fits."""
