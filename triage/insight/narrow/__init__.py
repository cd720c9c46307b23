"""The smallest set of options and extensions with which a command still crashes the same way."""
