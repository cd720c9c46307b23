"""What the tests need around the program: interpreters that crash, and what is true about each crash."""
