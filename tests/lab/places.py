"""Where the tests keep what is made once, and where they lay things inside another release."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """Where the suites live."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "triage-tests" / "suites"


def place(root: Path) -> Path:
    """A folder inside a root for what a test lays there; each process of a parallel run has its own."""
    return root / "srv" / os.environ.get("PYTEST_XDIST_WORKER", "main")
