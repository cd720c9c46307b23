"""Loads what the first screen does not need, once that is there: no key is to wait for it."""

from __future__ import annotations

import time
from importlib import import_module

_MODULES = (
    "triage.tui.cluster", "triage.tui.crash", "triage.tui.ask", "triage.tui.summary", "triage.tui.help",
    "triage.tui.fulltext", "triage.tui.compare", "triage.tui.loose", "triage.tui.ingest", "triage.tui.palette",
    "triage.report.bug_report", "triage.store.writes", "triage.tui.code", "textual.widgets._option_list",
    "textual.widgets._toast",
)  # fmt: skip
_BREATH = 0.01  # seconds in which keys come first


def load() -> None:
    """Import one after the other; runs in a thread."""
    for name in _MODULES:
        import_module(name)
        time.sleep(_BREATH)
