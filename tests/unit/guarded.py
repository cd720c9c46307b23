"""Run a piece of Python on a file in a process of its own, bounded in time and memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BOUNDS = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_DATA, ({heap}, {heap}))
begun = time.process_time()
"""
# The peak since this program began: ru_maxrss is inherited from the parent over fork and exec.
_REPORT = """
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("RESULT", peak, round(time.process_time() - begun, 3))
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of it. `peak` in bytes; `None` when it did not come to its end."""

    output: str
    errors: str
    peak: int | None
    seconds: float | None


def run(code: str, *arguments: str | Path, seconds: float = 10.0, heap: int = 2**30) -> Run:
    """Run `code` with `sys.argv[1:]` set to `arguments`."""
    program = _BOUNDS.format(heap=heap) + code + _REPORT
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            capture_output=True, text=True, timeout=seconds, cwd=ROOT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Run("", f"still running after {seconds} s", None, None)
    output, _, result = done.stdout.rpartition("RESULT ")
    if done.returncode != 0 or not result:
        return Run(done.stdout, done.stderr, None, None)
    peak, taken = result.split()
    return Run(output, done.stderr, int(peak) * 1024, float(taken))
