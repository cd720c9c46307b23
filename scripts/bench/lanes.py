"""The two lanes held against each other over every crash there is: records compared whole.

    .venv/bin/python scripts/bench/lanes.py [GROUP…]     groups: host suites fpm faults native

Prints for each group how many cores gave one record by both lanes, how many of them the fast lane left
to GDB (and why), and how many differ; exit status 1 when any does. Every core is triaged twice by the
fast lane: as a shape that may be new, and as one that is known.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.lab import faults
from tests.lab.native import c_crash, python_crash
from tests.lab.php import CASES, Case, Interpreter, make
from tests.lab.suites import SUITES, CannotMake, ensure
from tests.lab.worker import serving
from triage.config import Settings
from triage.demo.crashes import find_php
from triage.demo.lab import NoCrash, crash
from triage.pipeline import Pipeline
from triage.wire import crash_to_json

Cores = Iterator[tuple[Path, Path | None]]
"""Cores, each with the root folder its process lived in (`None`: this machine)."""


def host(folder: Path) -> Cores:
    """Every case with this machine's PHP, as two processes."""
    php = find_php()
    for case in CASES if php is not None else ():
        for number in range(2):
            place = folder / f"{number}"
            place.mkdir(exist_ok=True)
            if php is not None and php.version >= case.oldest:
                yield make(case, Interpreter(php.version), place).core, None


def suites(folder: Path) -> Cores:
    """Every case that ends by itself, with the PHP of other releases."""
    for suite, php in _others():
        (folder / suite).mkdir()
        for case in CASES:
            if php.version >= case.oldest and not case.endless:
                yield make(case, php, folder / suite).core, php.root


def fpm(folder: Path) -> Cores:
    """Workers of php-fpm, two of each master."""
    mine = find_php()
    rows = [("host", Interpreter(mine.version), f"{mine.version[0]}.{mine.version[1]}")] if mine else []
    rows += [(suite, php, f"{php.version[0]}.{php.version[1]}") for suite, php in _others()]
    for name, php, version in rows:
        place = folder / name
        place.mkdir()
        with serving(f"/usr/sbin/php-fpm{version}", place, php.root, ("-d", "session.name=shop")) as workers:
            for number in range(2):
                case = Case(name="settings", script="settings.php")
                yield workers.crash(case, place / f"{number}.core").core, php.root


def _others() -> Iterator[tuple[str, Interpreter]]:
    for suite in SUITES:
        try:
            root = ensure(suite)
        except CannotMake as reason:
            print(f"PHP {suite.php} cannot be had: {reason}", file=sys.stderr)
            continue
        major, minor = map(int, suite.php.split("."))
        yield suite.name, Interpreter((major, minor), root)


def faulty(folder: Path) -> Cores:
    """Every class of fault, with symbols and stripped."""
    for wanted, build, process in faults.all_cases(folder):
        try:
            yield crash(process, folder / f"{build}-{wanted.name}.core"), None
        except NoCrash as reason:
            print(f"{wanted.name} ({build}): {reason.message}", file=sys.stderr)


def native(folder: Path) -> Cores:
    """Programs in C, with threads and signal handlers, and Python."""
    for at, flags in enumerate((("-O0", "-g"), ("-O2", "-g"), ("-O2", "-s"))):
        for program in ("threads", "handler"):
            place = folder / f"{program}{at}"
            place.mkdir()
            yield c_crash(program, place, *flags), None
    yield python_crash(folder), None


GROUPS: dict[str, Callable[[Path], Cores]] = {
    "host": host, "suites": suites, "fpm": fpm, "faults": faulty, "native": native,
}  # fmt: skip


class Lanes:
    """Both lanes for one root folder."""

    def __init__(self, root: Path | None) -> None:
        self.fast = Pipeline(Settings(sysroot=root))
        self.full = Pipeline(Settings(sysroot=root, reuse=False))

    def judge(self, core: Path) -> tuple[list[str], list[str]]:
        """`(by which lanes it went, what differs)`."""
        expected, lanes, wrong = _record(self.full, core), [], list[str]()
        for _ in range(2):
            before = dict(self.fast.lanes)
            found = _record(self.fast, core)
            went = (lane for lane, count in self.fast.lanes.items() if count > before.get(lane, 0))
            lanes.append(next(went, "deferred: GDB gave no answer"))
            wrong += [key for key in expected if found[key] != expected[key]]
            wrong += sorted(set(found["warnings"]) ^ set(expected["warnings"]))
        return lanes, wrong


def _record(pipeline: Pipeline, core: Path) -> dict[str, Any]:
    crash = pipeline.triage(core).crash
    assert crash is not None
    return {key: value for key, value in crash_to_json(crash).items() if key != "timing"}


def held(cores: Cores) -> tuple[Counter[str], list[str]]:
    """How the cores went, and one line for each that differs. They stay: GDB holds one of them open."""
    tally: Counter[str] = Counter()
    differ: list[str] = []
    lanes: dict[Path | None, Lanes] = {}
    for core, root in cores:
        if root not in lanes:
            lanes[root] = Lanes(root)
        both = lanes[root]
        ways, wrong = both.judge(core)
        tally.update(ways)
        tally["cores"] += 1
        if wrong:
            differ.append(f"{core.parent.name}/{core.name}: {', '.join(dict.fromkeys(wrong))}")
    for both in lanes.values():
        both.fast.close()
        both.full.close()
    return tally, differ


def main(names: Sequence[str]) -> int:
    """Print the table."""
    failed = 0
    lanes = "learned, put together, named, known, left to GDB"
    print(f"{'group':<8} {'cores':>6} {'agree':>6} {'differ':>6}   by the fast lane: {lanes}")
    for name in names or GROUPS:
        with tempfile.TemporaryDirectory(prefix="triage-lanes-") as folder:
            Path(folder).chmod(0o755)  # php-fpm's workers are of another user
            tally, differ = held(GROUPS[name](Path(folder)))
        left = {lane.removeprefix("deferred: "): n for lane, n in tally.items() if lane.startswith("deferred")}
        count = tally["cores"]
        print(
            f"{name:<8} {count:>6} {count - len(differ):>6} {len(differ):>6}   "
            f"{tally['asked']}, {tally['composed']}, {tally['named']}, {tally['reused']}, {sum(left.values())}",
            flush=True,
        )
        for why, number in sorted(left.items()):
            print(f"{'':10}{number} left: {why}")
        for line in differ:
            print(f"{'':10}{line}")
        failed += len(differ)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
