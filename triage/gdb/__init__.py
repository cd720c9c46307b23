"""The one door to the debugger."""
