from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.driver import store_at
from tests.tui.samples import INSIGHT, NOW
from triage import clock
from triage.store import Store


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The time stands still, and nothing of this machine is read or written: no settings, no log of packages."""
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr("triage.tui.decide.user_name", lambda: "ann")
    monkeypatch.setattr("triage.tui.cluster.insight", lambda store, cluster, given_up: INSIGHT)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    for name in ("NO_COLOR", "TRIAGE_PROGRAM", "TRIAGE_SERVED", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with store_at(tmp_path) as opened:
        yield opened
