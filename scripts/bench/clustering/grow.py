"""How assigning crashes grows with the store: from zero to 100,000 in SQLite, then one more.

    .venv/bin/python scripts/bench/clustering/grow.py [MOST]            assigning alone
    .venv/bin/python scripts/bench/clustering/grow.py [MOST] --saves    whole saves

Real stacks of the corpus (the old bugs), their frames renamed so that there are some
thousand bugs, a few of which make most of the crashes; one in ten has a frame more or less. Processor
time, since the machine may be shared.
"""

from __future__ import annotations

import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import corpus  # noqa: F401 — it finds the project
import dataset
import tune
from dataset import OLD

from triage.cluster.assign import place
from triage.cluster.profile import Profile
from triage.cluster.shape import Step
from triage.cluster.signature import signature_of
from triage.model import Crash, Outcome, Signature, Thread
from triage.store import open_store
from triage.store.book import SqlBook

_BUGS = 5000
_MARKS = (1_000, 10_000, 100_000)
_BATCH = 500


def crashes(seed: int = 3) -> Iterator[tuple[Signature, Profile]]:
    """Endless crashes; bug number n is about as often as 1/n."""
    known = tune.signed([t for t in dataset.load(OLD) if t.view == "stripped"])
    dice = random.Random(seed)
    while True:
        bug = min(_BUGS, int(dice.paretovariate(0.6)))
        _, signature, profile = known[bug % len(known)]
        steps = [_renamed(step, bug) for step in profile.steps]
        change = dice.random()
        if change < 0.05 and len(steps) > 2:
            del steps[dice.randrange(len(steps))]
        elif change < 0.1:
            more = Step(kind="native", name=f"helper_{dice.randrange(50)}", module="php")
            steps.insert(dice.randrange(len(steps) + 1), more)
        found = replace(profile, steps=tuple(steps), died_at=None)
        key = f"grow:{signature.key.split(':')[1]}:" + "|".join(f"{s.name or s.function}" for s in steps[:6])
        yield Signature(key=key, title=key[:60]), found


def _renamed(step: Step, bug: int) -> Step:
    name = f"{step.name}_{bug}" if step.name else None
    function = f"{step.function}{bug:x}" if step.function else None
    return replace(step, name=name, function=function, place=None)


def whole(seed: int = 4) -> Iterator[Crash]:
    """Endless crash records of the corpus as triage would save them, each new; popularity as for `crashes`."""
    known = [trace.crash for trace in dataset.load(OLD) if trace.view == "stripped" and trace.crash.signature]
    dice = random.Random(seed)
    for at in itertools.count():
        bug = min(_BUGS, int(dice.paretovariate(0.6)))
        crash = known[bug % len(known)]
        threads = tuple(_thread(thread, bug) for thread in crash.threads)
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=at)
        made = replace(
            crash, id=f"{at:040x}", core=f"/var/crash/{at}.core", threads=threads, time=moment, cluster=None
        )
        yield replace(made, signature=signature_of(made))


def _thread(thread: Thread, bug: int) -> Thread:
    """The stack of another bug: its native functions have other names."""
    return replace(thread, frames=tuple(
        replace(frame, function=f"{frame.function}_{bug}", offset=(frame.offset or 0) + 16 * bug, traits=())
        if frame.kind == "native" and frame.function and not frame.function.startswith("sub_") else frame
        for frame in thread.frames))  # fmt: skip


def saves(most: int) -> None:
    """Print what whole saves take as the store grows: record, cluster, facts, incident, input."""
    stream = whole()
    with tempfile.TemporaryDirectory() as folder, open_store(f"sqlite:///{folder}/saves.db") as store:
        print(f"\n{'saved':>9} {'seconds':>9} {'ms each':>9} {'clusters':>9}   the last 200, ms: median, 95 %, most")
        spent, seen, last = 0.0, set[str](), list[float]()
        for count in range(1, most + 1):
            crash = next(stream)
            outcome = Outcome(core=crash.core, status=crash.status, crash=crash)
            begun = time.process_time()
            saved = store.save(outcome, None).crash
            taken = time.process_time() - begun
            spent += taken
            last.append(taken * 1000)
            seen.add(saved.cluster or "" if saved else "")
            if count in _MARKS or count == most:
                end = sorted(last[-200:])
                print(f"{count:9} {spent:9.1f} {1000 * spent / count:9.2f} {len(seen):9}   "
                      f"{statistics.median(end):.1f}, {end[len(end) * 95 // 100]:.1f}, {end[-1]:.1f}",
                      flush=True)  # fmt: skip


def main(argv: list[str]) -> int:
    """Print the table."""
    most = int(next((word for word in argv if word.isdigit()), _MARKS[-1]))
    if "--saves" in argv:
        saves(most)
        return 0
    stream = crashes()
    with tempfile.TemporaryDirectory() as folder, open_store(f"sqlite:///{folder}/grow.db") as store:
        print(f"{'crashes':>9} {'seconds':>9} {'ms each':>9} {'clusters':>9}   one more, ms: median, 95 %, most")
        count, spent = 0, 0.0
        seen: set[str] = set()
        for mark in (*(m for m in _MARKS if m < most), most):
            while count < mark:
                batch = [next(stream) for _ in range(min(_BATCH, mark - count))]
                begun = time.process_time()
                with store._engines.writer.begin() as connection:
                    book = SqlBook(connection)
                    seen.update(place(signature, profile, book).cluster for signature, profile in batch)
                spent += time.process_time() - begun
                count += len(batch)
            more = []
            for signature, profile in (next(stream) for _ in range(200)):
                begun = time.process_time()
                with store._engines.writer.begin() as connection:
                    place(signature, profile, SqlBook(connection))
                more.append((time.process_time() - begun) * 1000)
            more.sort()
            print(f"{count:9} {spent:9.1f} {1000 * spent / count:9.2f} {len(seen):9}   "
                  f"{statistics.median(more):.1f}, {more[189]:.1f}, {more[-1]:.1f}", flush=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
