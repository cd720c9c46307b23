"""The interface in a real terminal: lent to GDB and back, Ctrl-C, another size, and left in order."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from triage.config import Settings
from triage.pipeline import Pipeline
from triage.store import open_store

pytestmark = [
    pytest.mark.gdb,
    pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed"),
    pytest.mark.skipif(not shutil.which("gdb"), reason="GDB is not installed"),
]
_PATIENCE = 60.0


class Terminal:
    """A tmux session with a server of its own."""

    def __init__(self, folder: Path, command: str) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "TERM": "xterm-256color"}
        whole = f"{command}; status=$?; echo; echo ENDED $status; stty -a | grep -o '[-]*echo '; sleep 600"
        self._run("new-session", "-d", "-x", "100", "-y", "30", whole, env=environment)

    def _run(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        return subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, check=True, env=env).stdout

    def screen(self) -> str:
        return self._run("capture-pane", "-p")

    def keys(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        self._run("resize-window", "-x", str(width), "-y", str(height))

    def title(self) -> str:
        return self._run("display-message", "-p", "#{pane_title}").strip()

    def until(self, words: str) -> str:
        """Wait until some words are on the screen."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            shown = self.screen()
            if words in shown:
                return shown
            time.sleep(0.1)
        raise AssertionError(f"{words!r} did not appear:\n{self.screen()}")

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one real crash, of a process with a hostile name for its argument."""
    folder = tmp_path_factory.mktemp("tmux")
    argument = "\x1b]2;PWNED\x07"
    script = "ulimit -c unlimited; exec sh -c 'kill -SEGV $$; :' \"$0\""
    subprocess.run(["sh", "-c", script, argument], cwd=folder, check=False)
    cores = [path for path in folder.iterdir() if path.name.startswith("core")]
    if not cores:
        pytest.skip("this machine writes no core into the working folder (core_pattern)")
    path = folder / "triage.db"
    with open_store(f"sqlite:///{path}") as opened, Pipeline(Settings()) as pipeline:
        opened.save(pipeline.triage(cores[0]), None)
    return path


@pytest.fixture
def terminal(store: Path, tmp_path: Path) -> Iterator[Terminal]:
    command = shlex.join([sys.executable, "-m", "triage", "tui", "--store", str(store)])
    opened = Terminal(tmp_path, f"cd {shlex.quote(str(Path(__file__).parents[2]))}; {command}")
    yield opened
    opened.close()


def test_gdb_borrows_the_terminal_and_gives_it_back(terminal: Terminal) -> None:
    terminal.until("1 cluster, 1 crash")
    before = terminal.title()
    terminal.keys("Enter")
    terminal.until("1 Summary")
    terminal.keys("Enter")
    terminal.until("1 Stack")
    terminal.keys("g")
    terminal.until("php-why leads through")
    terminal.until("(gdb)")
    terminal.keys("C-c")  # for GDB, not for us
    terminal.until("Quit")
    terminal.keys("print 6*7", "Enter")
    terminal.until("$1 = 42")
    terminal.keys("C-c", "quit", "Enter")
    terminal.until("1 Stack")
    assert "ENDED" not in terminal.screen()

    for width, height in ((60, 20), (200, 50), (80, 24)):
        terminal.resize(width, height)
        time.sleep(0.3)
        shown = terminal.until("1 Stack").splitlines()
        assert len(shown) <= height
        assert all(len(line) <= width for line in shown)

    terminal.keys("9")
    time.sleep(0.3)
    assert terminal.title() == before  # the process's own words changed nothing of the terminal
    assert "PWNED" not in terminal.title()
    terminal.keys("q")
    terminal.until("1 Summary")
    terminal.keys("q")
    terminal.until("1 cluster, 1 crash")
    terminal.keys("q")
    assert "-echo " not in terminal.until("ENDED 0")  # the terminal is as it was


def test_a_signal_to_end_leaves_the_terminal_in_order(terminal: Terminal, store: Path) -> None:
    terminal.until("1 cluster, 1 crash")
    children = subprocess.run(
        ["pgrep", "-f", f"triage tui --store {store}"], capture_output=True, text=True, check=True
    ).stdout.split()
    python = [int(pid) for pid in children if Path(f"/proc/{pid}/exe").resolve().name.startswith("python")]
    os.kill(python[-1], 15)
    assert "-echo " not in terminal.until("ENDED 143")
