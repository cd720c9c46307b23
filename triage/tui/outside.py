"""Leaving the interface for GDB or an editor, and coming back."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from textual.app import SuspendNotSupported

from triage.config import Settings
from triage.model import Crash, Frame
from triage.tui.copying import gdb_command
from triage.tui.place import Place
from triage.tui.settings import local_path

_WITH_GOTO = ("code", "codium", "subl", "zed")


class Outside(Place):
    """A screen about a crash that other programs can open."""

    def with_crash(self, then: Callable[[Crash], None]) -> None:
        """Go on with the crash that is meant."""
        raise NotImplementedError

    def chosen_frame(self) -> Frame | None:
        """The script's frame that an editor would open."""
        return None

    def action_debug(self) -> None:
        """GDB on the core, in this terminal."""
        self.with_crash(self._debug)

    def _debug(self, crash: Crash) -> None:
        if not Path(crash.core).is_file():
            self.triage.say(f"the core {crash.core} is gone: GDB has nothing to open", wrong=True)
            return
        program = os.environ.get("TRIAGE_PROGRAM") or "triage"
        self._run(debug_argv(crash, self.triage.settings), gdb_command(crash, program))

    def action_edit(self) -> None:
        """The file and line of the frame, in the user's editor."""
        frame = self.chosen_frame()
        if frame is None or frame.file is None:
            self.triage.say("no script's file is known for this frame or its callers")
            return
        path = local_path(frame.file, self.triage.ui.source_map)
        if not path.is_file():
            self.triage.say(f"{path} is not on this machine; [source_map] in config.toml says where files lie")
            return
        argv = editor_argv(path, frame.line or 1)
        self._run(argv, shlex.join(argv))

    def _run(self, argv: Sequence[str], command: str) -> None:
        if self.triage.in_browser:
            self.triage.copy_text(command, "not from a browser; run this in a terminal")
            return
        try:
            with self.triage.suspend():
                status = run_in_terminal(argv)
        except SuspendNotSupported:
            self.triage.copy_text(command, "this terminal cannot be lent; run this in another")
            return
        if status:
            self.triage.say(f"{argv[0]} ended with status {status}")


def debug_argv(crash: Crash, settings: Settings) -> list[str]:
    """The command line of `triage debug` for a crash, with what this run was told."""
    argv = [sys.executable, "-m", "triage", "debug", crash.core if "/" in crash.core else f"./{crash.core}"]
    if settings.sysroot is not None:
        argv += ["--sysroot", str(settings.sysroot)]
    for folder in settings.debug_dirs:
        argv += ["--debug-dir", str(folder)]
    return [*argv, "--gdb", settings.gdb] if settings.gdb else argv


def editor_argv(path: Path, line: int) -> list[str]:
    """How the user's editor opens a file at a line."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    if Path(editor[0]).name in _WITH_GOTO:
        return [*editor, "-g", f"{path}:{line}"]
    return [*editor, f"+{line}", str(path)]


def run_in_terminal(argv: Sequence[str]) -> int:
    """Run a program that has the terminal for itself; returns its exit status, 127 when it is not there.

    Ctrl-C is for that program: it reaches the whole foreground group, and would end the interface as soon
    as it came back.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.run(argv, check=False, preexec_fn=_take_interrupts).returncode
    except OSError as error:
        print(f"{argv[0]} could not be started: {error.strerror}", file=sys.stderr)
        return 127
    finally:
        signal.signal(signal.SIGINT, before)


def _take_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
