"""Do two readers of one Python core agree? triage beside `pystack core --native-all`, on every crash of tests/lab.

    .venv/bin/python scripts/bench/python_peer.py [PYTHON…]

pystack is looked for on PATH, or where PYSTACK says. For each Python (default: this machine's own) a table: the
cases, in how many the Python frames are equal (name, file, line), in how many the whole merged stack is
(native frames that both name, in their places between the Python frames), and the processor
time of both (ours with that of making the cores).
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.lab.interpreters import Program
from tests.lab.python import CASES, crashed, make, program, system_python
from triage.config import Settings
from triage.pipeline import Pipeline
from triage.wire import crash_to_json

Token = tuple[Any, ...]
_THREAD = re.compile(r"^Traceback for thread (\d+)", re.M)
_PYTHON = re.compile(r'^ +\(Python\) File "(.*)", line (\d+), in (.*)$')
_NATIVE = re.compile(r'^ +\(C\) File ".*", line \d+, in (.*?)( \(inlined\))? \([^()]*\)( \(inlined\))?$')
_LOOP = "_PyEval_EvalFrameDefault"
_CLONE = re.compile(r"@.*$|\.(cold|part|isra|constprop|localalias|lto_priv)[.\d]*")


def ours(crash: dict[str, Any]) -> list[Token]:
    """The crashed stack as tokens, innermost first, without the loops that Python frames stand for."""
    found = []
    for frame in crashed(crash)["frames"]:
        if frame["kind"] == "python":
            found.append(("python", frame["function"], frame["file"], frame["line"]))
        elif frame["kind"] == "native" and not frame["inlined"]:
            found.append(("native", _plain(frame["function"] or "???")))
    return [token for token in found if token != ("native", _LOOP)]


def theirs(text: str, thread: int) -> list[Token]:
    """The same from what pystack printed."""
    parts = _THREAD.split(text)
    body = next((parts[at + 1] for at in range(1, len(parts), 2) if int(parts[at]) == thread), "")
    found: list[Token] = []
    for line in body.splitlines():
        if match := _PYTHON.match(line):
            found.append(("python", match[3], match[1], int(match[2])))
        elif (match := _NATIVE.match(line)) and not (match[2] or match[3]):
            found.append(("native", _plain(match[1])))
    return [token for token in reversed(found) if token != ("native", _LOOP)]


def _plain(name: str) -> str:
    return _CLONE.sub("", name).removeprefix("__GI_")


def named(left: Sequence[Token], right: Sequence[Token]) -> tuple[list[Token], list[Token]]:
    """Both without native frames that only one of them can name."""
    known = {token for token in left if token[0] == "native"} & {token for token in right if token[0] == "native"}
    kept = [[t for t in side if t[0] == "python" or t in known] for side in (left, right)]
    return kept[0], kept[1]


def python_only(tokens: Sequence[Token]) -> list[Token]:
    """The Python frames."""
    return [token for token in tokens if token[0] == "python"]


def compare(python: Program, folder: Path, pystack: str) -> str:
    """One row of the table."""
    equal = same = 0
    peer = 0.0
    began = time.process_time() + _children()
    odd = []
    with Pipeline(Settings()) as flow:
        for case in CASES:
            made = make(case, python, folder)
            outcome = flow.triage(made.core)
            if outcome.crash is None:
                odd.append(f"{case.name}: not read")
                continue
            crash = crash_to_json(outcome.crash)
            children = _children()
            done = subprocess.run(
                [pystack, "--no-color", "core", str(made.core), crash["executable"], "--native-all"],
                capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "NO_COLOR": "1"},
            )  # fmt: skip
            peer += _children() - children
            left, right = ours(crash), theirs(done.stdout, crashed(crash)["id"])
            frames = python_only(left) == python_only(right)
            whole = frames and len(set(named(left, right)[0])) > 1 and named(left, right)[0] == named(left, right)[1]
            equal, same = equal + frames, same + whole
            if not whole:
                odd.append(f"{case.name}: {_first(*named(left, right)) if right else done.stderr.strip()[-80:]}")
            made.core.unlink()
    total, own = len(CASES), time.process_time() + _children() - began - peer  # GDB counts once it has ended
    row = f"{python.path:<48} {equal:>3}/{total} {same:>3}/{total} {own:>7.1f} s {peer:>7.1f} s"
    return "\n".join([row, *(f"    {line}" for line in odd)])


def _first(left: Sequence[Token], right: Sequence[Token]) -> str:
    at = next((n for n, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]), None)
    if at is None:
        return f"one has {len(left)} frames, the other {len(right)}"
    return f"frame {at}: {left[at]} / {right[at]}"


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Print the table."""
    pystack = os.environ.get("PYSTACK", "pystack")
    chosen = [program(Path(path)) for path in sys.argv[1:]] or [system_python()]
    print(f"{'Python':<48} {'frames':>6} {'stack':>6} {'triage':>9} {'pystack':>9}")
    for python in chosen:
        with tempfile.TemporaryDirectory() as folder:
            print(compare(python, Path(folder), pystack), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
