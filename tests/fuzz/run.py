"""Runs targets on mutated inputs, in processes that may be killed, and counts what happened.

Every input is named by target and number (`core:1234`), from which it can be made again. A hang is more
than ten seconds of processor time on one input: the clock on the wall says little on a busy machine.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from tests.fuzz.targets import TARGETS, Target

HANG_SECONDS = 10
_SILENT_SECONDS = 600
_MOST_FAILURES = 40
_IN_MEMORY = "/dev/shm"  # a disk is written to at each input, and sets the pace


class Hang(BaseException):
    """Not an Exception, so that nothing under test swallows it."""


@dataclass(slots=True)
class Tally:
    """What became of one target's inputs. Times are of the processor; memory is the process's peak, in bytes."""

    inputs: int = 0
    cores: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    hangs: int = 0
    exceptions: int = 0
    lost: int = 0
    slowest: float = 0.0
    slowest_input: str = ""
    memory: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in another worker's."""
        self.inputs += other.inputs
        self.cores += other.cores
        self.outcomes.update(other.outcomes)
        self.hangs += other.hangs
        self.exceptions += other.exceptions
        self.lost += other.lost
        if other.slowest > self.slowest:
            self.slowest, self.slowest_input = other.slowest, other.slowest_input
        self.memory = max(self.memory, other.memory)
        self.failures = (self.failures + other.failures)[:_MOST_FAILURES]


def plain(tally: Tally) -> dict[str, Any]:
    """The fields; asdict() takes a Counter apart in its own way."""
    return {**asdict(tally), "outcomes": dict(tally.outcomes)}


def attempt(target: Target, number: int, tally: Tally, *, alarm: bool = True) -> None:
    """One input; with `alarm`, whoever calls has SIGPROF raise Hang."""
    chance = random.Random(f"{target.name}:{number}")
    name = f"{target.name}:{number}"
    begun = time.process_time()
    tally.inputs += 1
    tally.cores += target.cores
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS if alarm else 0)
    try:
        tally.outcomes[target.run(chance)] += 1
    except Hang:
        tally.hangs += 1
        tally.failures.append(f"{name}: hang\n{traceback.format_exc(limit=-6)}")
    except Exception:  # noqa: BLE001 — whatever comes is what is looked for
        tally.exceptions += 1
        tally.failures.append(f"{name}: {traceback.format_exc(limit=-6)}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    spent = time.process_time() - begun
    if spent > tally.slowest:
        tally.slowest, tally.slowest_input = spent, name
    tally.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ring(number: int, frame: FrameType | None) -> NoReturn:
    """The handler of SIGPROF."""
    raise Hang


def work(names: Sequence[str], numbers: range, seconds: float, line: Connection | None = None) -> dict[str, Tally]:
    """Inputs of the targets in turn until the time is up or the numbers are used."""
    signal.signal(signal.SIGPROF, ring)
    end = time.monotonic() + seconds
    tallies = {name: Tally() for name in names}
    with tempfile.TemporaryDirectory(
        prefix="triage-fuzz-", dir=_IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    ) as folder:
        targets = [TARGETS[name](Path(folder)) for name in names]
        try:
            for number in numbers:
                for target in targets:
                    for step in range(target.share):
                        if line is not None:
                            line.send((target.name, number * 1000 + step))
                        attempt(target, number * 1000 + step, tallies[target.name])
                        if time.monotonic() > end:
                            return tallies
        finally:
            for target in targets:
                tallies[target.name].lost += target.close()
    return tallies


def _process(names: Sequence[str], numbers: range, seconds: float, line: Connection) -> None:
    tallies = work(names, numbers, seconds, line)
    line.send({name: plain(tally) for name, tally in tallies.items()})


def run(names: Sequence[str], seed: int, seconds: float, workers: int) -> dict[str, Tally]:
    """The same in processes of their own; one that dies or is silent for ten minutes counts as a failure."""
    context = multiprocessing.get_context("spawn")
    total = {name: Tally() for name in names}
    lines: dict[Connection, tuple[SpawnProcess, str]] = {}
    for at in range(workers):
        ours, theirs = context.Pipe(duplex=False)
        numbers = range((seed * workers + at) * 1_000_000, (seed * workers + at + 1) * 1_000_000)
        child = context.Process(target=_process, args=(names, numbers, seconds, theirs))
        child.start()
        theirs.close()
        lines[ours] = (child, "")
    while lines:
        ready = wait_for(list(lines), timeout=_SILENT_SECONDS)
        for line in ready or list(lines):
            child, last = lines[line]  # type: ignore[index]
            outcome = _listen(line, total) if ready else None  # type: ignore[arg-type]
            if isinstance(outcome, str):
                lines[line] = (child, outcome)  # type: ignore[index]
                continue
            del lines[line]  # type: ignore[arg-type]
            if outcome is None:
                if child.pid is not None:
                    os.kill(child.pid, signal.SIGKILL)
                total[last.split(":")[0] or names[0]].failures.append(f"{last}: the process died or was silent")
                total[last.split(":")[0] or names[0]].exceptions += 1
            child.join()
    return total


def _listen(line: Connection, total: dict[str, Tally]) -> str | bool | None:
    """The input a worker has begun; `True` when it is done, `None` when it has died."""
    try:
        said = line.recv()
    except (EOFError, OSError):
        return None
    if isinstance(said, tuple):
        return f"{said[0]}:{said[1]}"
    for name, fields in said.items():
        total[name].add(Tally(**{**fields, "outcomes": Counter(fields["outcomes"])}))
    return True


def table(tallies: dict[str, Tally]) -> str:
    """The figures, a line a target."""
    head = f"{'target':<9}{'inputs':>9}{'cores':>9}{'hangs':>7}{'errors':>8}{'lost':>6}{'slowest':>10}{'memory':>10}"
    lines = [head]
    total = Tally()
    for name, tally in tallies.items():
        total.add(tally)
        lines.append(_row(name, tally))
    return "\n".join([*lines, _row("all", total)])


def _row(name: str, tally: Tally) -> str:
    return (
        f"{name:<9}{tally.inputs:>9}{tally.cores:>9}{tally.hangs:>7}{tally.exceptions:>8}{tally.lost:>6}"
        f"{tally.slowest:>8.2f} s{tally.memory / 1e6:>7.0f} MB"
    )


def save(tallies: dict[str, Tally], path: Path) -> None:
    """The figures with all outcomes and failures, as JSON."""
    path.write_text(json.dumps({name: plain(tally) for name, tally in tallies.items()}, indent=1) + "\n")
