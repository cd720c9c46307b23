"""What `triage doctor` finds, for the interface."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from triage.config import Settings
from triage.report.lines import Line

_PATIENCE = 120  # seconds
_LOOKS = {"FAIL": "warn", "WARN": "warn", "PASS": "php"}


def doctor_lines(settings: Settings) -> Sequence[Line]:
    """Every finding with its fix. In a process of its own: it starts GDB and looks through the machine."""
    argv = [sys.executable, "-m", "triage", "doctor", "-v", "--no-color"]
    argv += ["--gdb", settings.gdb] if settings.gdb else []
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="backslashreplace", timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return [Line(f"triage doctor gave no answer within {_PATIENCE} s", "warn")]
    text = done.stdout + done.stderr
    return [Line(line, _LOOKS.get(line.strip()[:4], "plain")) for line in text.splitlines()]
