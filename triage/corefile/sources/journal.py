"""The systemd journal, asked through journalctl.

Every entry comes as one JSON object a line, whose values may be text, lists of bytes for what is
no UTF-8, or lists of values for fields given twice.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

COREDUMP_MESSAGE = "fc2e22bc6ee647b6b90729ab34a250b1"
_SECONDS = 10
_MOST = 64 << 20


class Journal:
    """The machine's journal, or that of a folder. Silent when there is none or it may not be read.

    After one failure it is not asked again: a batch of hundreds of cores would wait each time.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._usable = shutil.which("journalctl") is not None

    def coredump(self, file: str) -> Mapping[str, str]:
        """The newest entry systemd-coredump wrote about the core at `file`; empty when there is none."""
        entries = list(self.entries([f"MESSAGE_ID={COREDUMP_MESSAGE}", f"COREDUMP_FILENAME={file}"], newest=1))
        return entries[0] if entries else {}

    def entries(self, matches: Sequence[str], *, newest: int | None = None) -> Iterator[Mapping[str, str]]:
        """The matching entries, oldest first."""
        if not self._usable:
            return
        argv = ["journalctl", "--output=json", "--no-pager", "--quiet", "--all"]
        argv += [f"--directory={self._folder}"] if self._folder else []
        argv += [f"--lines={newest}"] if newest else []
        try:
            done = subprocess.run(
                [*argv, *matches], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            self._usable = False
            return
        if done.returncode != 0:
            self._usable = False
        for line in done.stdout[:_MOST].splitlines():
            entry = _entry(line)
            if entry:
                yield entry


def _entry(line: bytes) -> Mapping[str, str]:
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return {}  # cut off, or nested beyond all reason
    return {name: _text(value) for name, value in raw.items()} if isinstance(raw, dict) else {}


def _text(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(byte, int) and 0 <= byte < 256 for byte in value):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, list):
        return _text(value[-1]) if value else ""
    return "" if value is None else str(value)
