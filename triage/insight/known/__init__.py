"""Whether a crash is known: bugs whose own regression test killed this PHP, changelogs, and the user's notes."""
