"""Crashes in words: what the command line, the terminal interface and the reports share."""
