"""triage: reads core dumps of interpreter processes and says what happened in plain words."""

__version__ = "0.1.0"
