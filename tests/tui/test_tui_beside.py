"""What runs beside the interface in processes of its own: `why`, `doctor`, cores read again, values."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.store.samples import at
from tests.tui.driver import Screen, drive
from tests.tui.samples import fill, whole
from triage.insight.page import parts
from triage.insight.why import investigate
from triage.store import Store
from triage.tui.insight import FAILED, insight
from triage.tui.rows import Rows


def crowd(store: Store) -> None:
    """Enough crashes for a comparison, and as many of another kind without the setting."""
    for number in range(8):
        fill(store, whole(f"c0ffee{number:02}", time=at(number * 60), pid=number))


def test_why_is_worked_out_and_shown_and_the_cursor_stays(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(store)
    (cluster,) = store.clusters()
    monkeypatch.setattr("triage.tui.cluster.insight", insight)
    url = f"sqlite:///{tmp_path / 'triage.db'}"
    found = insight(url, cluster.id, lambda: False)
    assert [part.head for part in found] == [part.head for part in parts(investigate(store, cluster))]
    assert all(statement.evidence for part in found for statement in part.statements)

    async def script(screen: Screen) -> None:
        await screen.pilot.press("enter", "5", "j", "j")
        table = screen.app.screen.query_one("#crashes", Rows)
        chosen = table.current
        await screen.settle()  # `why` has come meanwhile
        assert table.current == chosen == "c0ffee05"
        await screen.press("3")
        first = found[0].statements[0].text.split(". ")[0].split(" ")[:4]
        await screen.until(" ".join(first))
        assert "being worked out" not in screen.text
        await screen.press("w")
        await screen.press("6")
        assert found[0].head not in screen.text

    drive(store, script, size=(120, 36), store=url)


def test_why_that_nobody_waits_for_is_not_begun_or_ended(tmp_path: Path) -> None:
    begun = time.monotonic()
    assert insight(f"sqlite:///{tmp_path / 'x.db'}", "C-1", lambda: True) == ()
    assert insight(f"sqlite:///{tmp_path / 'x.db'}", "C-1", lambda: time.monotonic() > begun + 0.5) == ()
    assert time.monotonic() - begun < 20


def test_why_that_fails_says_so(tmp_path: Path) -> None:
    (failed,) = insight(f"sqlite:///{tmp_path / 'x.db'}", "C-none", lambda: False)
    assert failed.head == FAILED
    assert "no cluster is called 'C-none'" in failed.statements[0].text


def test_the_doctor_is_shown(store: Store) -> None:
    async def script(screen: Screen) -> None:
        await screen.press("D")
        await screen.until("core_pattern")
        assert any(line.split()[:1] in (["PASS"], ["FAIL"], ["WARN"]) for line in screen.lines())

    drive(store, script, size=(120, 36))


@pytest.mark.gdb
@pytest.mark.skipif(not shutil.which("gdb"), reason="GDB is not installed")
def test_cores_are_read_again(store: Store, tmp_path: Path) -> None:
    core = tmp_path / "core.1"
    core.write_bytes(b"no core" * 100)
    fill(store, whole(core=str(core)), whole("c0ffee02", time=at(60), core="/var/crash/gone"))

    async def script(screen: Screen) -> None:
        await screen.press("enter", "5", "enter", "R")
        await screen.told("the core is gone")
        await screen.press("m")
        await screen.told("values are not kept, and the core /var/crash/gone is gone")
        await screen.press("escape", "R")  # of the cluster: the cores that are there
        await screen.until("core.1:")
        await screen.until("could not be read")
        await screen.until("done in")
        assert screen.app.reading is not None
        assert screen.app.reading.paths == (str(core),)
        await screen.press("escape", "5", "j", "enter", "m")
        await screen.until("values of c0ffee01")
        await screen.until("core.1")

    drive(store, script, size=(120, 36), store=f"sqlite:///{tmp_path / 'triage.db'}")
