"""Real crashes made on purpose, to show what the program does."""
