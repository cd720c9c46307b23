"""A batch that runs beside the interface, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from triage.config import Settings
from triage.text import clean

_KEPT = 500


@dataclass(slots=True)
class Progress:
    """How far it is. `problems` are inputs that gave no crash, or one with gaps, with the reason."""

    done: int = 0
    total: int | None = None
    crashes: int = 0
    partial: int = 0
    failed: int = 0
    last: str = ""
    problems: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    status: int | None = None


class Reading:
    """`triage batch` on some paths, those read before too if `again`. Its state is read by the screen; two threads
    write it."""

    def __init__(self, paths: Sequence[str], store: str, settings: Settings, *, again: bool = False) -> None:
        self.paths = tuple(paths)
        self.progress = Progress()
        self.paused = self.stopping = False
        argv = [sys.executable, "-m", "triage", "batch", "--json", "--steered"]
        argv += ["--again", "--no-reuse"] if again else []
        for option, value in (("--sysroot", settings.sysroot), ("--gdb", settings.gdb)):
            argv += [option, str(value)] if value else []
        for folder in settings.debug_dirs:
            argv += ["--debug-dir", str(folder)]
        self._process = subprocess.Popen(
            [*argv, "--", *paths], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="backslashreplace", start_new_session=True,
            env=os.environ | {"TRIAGE_STORE": store},  # arguments are seen by all users
        )  # fmt: skip
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._read_results, self._read_remarks)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        """Whether it goes on, paused or not."""
        return self.progress.status is None

    @property
    def line(self) -> str:
        """In a few words, for the title of other screens."""
        total = "?" if self.progress.total is None else str(self.progress.total)
        return f"reading {self.progress.done}/{total}{' (paused)' if self.paused else ''}"

    def toggle_pause(self) -> None:
        """Pause before the next core, or go on."""
        self.paused = not self.paused
        self._tell_pause()

    def _tell_pause(self) -> None:
        if self.progress.total is not None:  # before its first word it does not know the signals, and would die
            self._signal(signal.SIGUSR1 if self.paused else signal.SIGUSR2)

    def stop(self) -> None:
        """End after this core; called again, at once."""
        self.stopping = True
        self._signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        """Wait for its end. For tests."""
        for thread in self._threads:
            thread.join(seconds)

    def close(self) -> None:
        """End it, and wait: what is stored is whole, a core is stored in one transaction."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.wait(5)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def _read_results(self) -> None:
        stream = self._process.stdout
        for line in stream or ():
            try:
                self._count(json.loads(line))
            except ValueError:
                self.progress.said.append(clean(line.rstrip()))
        if stream is not None:
            stream.close()
        self._threads[1].join()
        self.progress.seconds = time.monotonic() - self.progress.began
        self.progress.status = self._process.wait()

    def _count(self, outcome: dict[str, object]) -> None:
        core, progress = clean(str(outcome.get("core"))), self.progress
        progress.last = core
        crash, error = outcome.get("crash"), outcome.get("error")
        if isinstance(crash, dict):
            progress.crashes += 1
            if outcome.get("status") == "partial":
                progress.partial += 1
                warnings = crash.get("warnings") or ["parts are missing"]
                progress.problems.append(f"~ {core}: {clean(str(warnings[0]))}")
        elif isinstance(error, dict):
            progress.failed += 1
            progress.problems.append(f"! {core}: {clean(str(error.get('message')))}")
        del progress.problems[:-_KEPT]

    def _read_remarks(self) -> None:
        stream = self._process.stderr
        for line in stream or ():
            words = line.split()
            if len(words) == 3 and words[0] == "step" and words[1].isdigit() and words[2].isdigit():
                first = self.progress.total is None
                self.progress.done, self.progress.total = int(words[1]), int(words[2])
                if first and self.paused:
                    self._tell_pause()
            elif line.strip() and not line.startswith("triage: /"):  # failures of inputs come with the results
                self.progress.said.append(clean(line.rstrip()))
        if stream is not None:
            stream.close()
