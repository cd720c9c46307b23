"""From a cluster of crashes to what to do: what goes with it, what changed, whether it is known, what to try."""
