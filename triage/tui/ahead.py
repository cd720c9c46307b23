"""Loads what the first screen does not need, once that is there: no key is to wait for it."""

from __future__ import annotations

import gc
import time
from importlib import import_module

_MODULES = (
    "triage.tui.cluster", "triage.tui.crash", "triage.tui.ask", "triage.tui.summary", "triage.tui.help",
    "triage.tui.fulltext", "triage.tui.compare", "triage.tui.loose", "triage.tui.ingest", "triage.tui.palette",
    "triage.report.bug_report", "textual.widgets._option_list",
    "textual.widgets._toast",
)  # fmt: skip
_SELDOM = (20_000, 10, 100)  # the rest is collected while nobody presses a key: see TriageApp.tidy
_BREATH = 0.01  # seconds in which keys come first


def load() -> None:
    """Import one after the other; runs in a thread."""
    for name in _MODULES:
        import_module(name)
        time.sleep(_BREATH)


def collect_less() -> None:
    """Leave what is there out of the collection of garbage, and let it seldom begin by itself: to look through all
    that is loaded takes a tenth of a second, which a key would wait. `gc.unfreeze` takes it back."""
    gc.freeze()
    gc.set_threshold(*_SELDOM)
    gc.enable()
