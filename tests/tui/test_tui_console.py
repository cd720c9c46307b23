"""The console beside the stack, on a real core and with a real GDB."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tests.store.samples import at
from tests.tui.driver import Screen, drive
from tests.tui.samples import fill, whole
from triage.store import Store
from triage.tui.console_pane import ConsolePane
from triage.tui.rows import Rows

pytestmark = [pytest.mark.gdb, pytest.mark.skipif(not shutil.which("gdb"), reason="GDB is not installed")]


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core of a shell that killed itself."""
    folder = tmp_path_factory.mktemp("console")
    subprocess.run(["sh", "-c", "ulimit -c unlimited; exec sh -c 'kill -SEGV $$; :'"], cwd=folder, check=False)
    cores = [path for path in folder.iterdir() if path.name.startswith("core")]
    if not cores:
        pytest.skip("this machine writes no core into the working folder (core_pattern)")
    return cores[0]


def talking() -> bool:
    return any(thread.name == "triage-console" for thread in threading.enumerate())


def is_open(screen: Screen) -> bool:
    return screen.app.screen.query_one(ConsolePane).display


def test_the_console_opens_the_core_answers_and_ends(store: Store, core: Path) -> None:
    fill(store, whole(core=str(core)))

    async def script(screen: Screen) -> None:
        await screen.press("enter", "enter", "c")
        assert is_open(screen)
        assert "opening " in screen.text
        await screen.until("php-why leads through the crash")
        await screen.press(*"print", "space", *"6*7", "enter")
        await screen.until("$1 = 42")
        await screen.press("up")
        assert screen.app.screen.query_one("#ask-gdb").value == "print 6*7"  # type: ignore[attr-defined]
        await screen.fill("php-nothing", "enter")
        await screen.until('Undefined command: "php-nothing"')
        assert talking()
        await screen.press(*"quit", "enter")
        assert not is_open(screen)
        assert isinstance(screen.app.screen.focused, Rows)  # the keys are the stack's again
        await screen.press("c")
        await screen.until("php-why leads through the crash")
        await screen.press("escape", "j")
        assert not is_open(screen)

    drive(store, script)
    assert not talking()


def test_the_console_says_why_it_cannot_be_opened(store: Store, tmp_path: Path) -> None:
    (tmp_path / "core.broken").write_bytes(b"\x7fELF" + b"no core" * 100)
    fill(
        store,
        whole(core=str(tmp_path / "core.broken")),
        whole("c0ffee02", time=at(60), core="/var/crash/\x1b[2Jgone"),
    )

    async def script(screen: Screen) -> None:
        await screen.press("enter", "5", "enter", "c")
        await screen.until("is gone")
        assert "\\x1b[2J" in screen.text
        await screen.press("escape", "right_square_bracket", "c")
        await screen.until("core.broken")
        assert is_open(screen)
        await screen.press("escape")

    drive(store, script, size=(120, 36))
