#!/usr/bin/env python3
"""How quick the interface is with 100,000 crashes in the store.

usage: scripts/bench/tui.py [--alone] [CRASHES] [STORE]

Makes a store of CRASHES crashes in 300 clusters (unless STORE is there already), starts `triage tui` on it in a
terminal of its own, and prints how long it takes from the start of the process to the first list on screen. Then
every key of the registry on every screen, and what can be typed: from the press until the screen has answered it.
CPU is that of the interface's thread; wall times are longer on a busy machine. With --alone (as root) the kernel
prefers what is measured to everything else, so that wall times are nearly those of a quiet machine.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import json
import os
import pty
import random
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sqlalchemy import Connection, insert
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.driver import Screen
from tests.tui.samples import whole
from triage.filing import filed
from triage.model import Change, Crash, Decision, Outcome, Signature, State
from triage.store import open_store, tables, writes
from triage.store.recent import Recent
from triage.store.revision import raise_revision
from triage.store.store import Store
from triage.tui import ahead
from triage.tui.actions import CLUSTER, COMPARE, CRASH, INBOX, INGEST, LOOSE, TEXT, actions_of
from triage.tui.app import TriageApp
from triage.tui.ask import Ask
from triage.wire import crash_to_json

CLUSTERS = 300
LOOSE_SHARE = 50  # one crash in so many is in no cluster
SAMPLE = "ffffffffffffffff"
SIZE = (120, 36)
_COLLECTED = 25  # keys in a row, between two moments of rest
LIMIT = 100.0  # ms a key may take
START_LIMIT = 1000.0
START = datetime(2025, 11, 24, tzinfo=UTC)
# How a reader comes to each screen from the list.
WAYS: dict[str, tuple[str, ...]] = {
    INBOX: (),
    CLUSTER: ("home", "enter"),
    CRASH: ("home", "enter", "enter"),
    LOOSE: ("end", "enter"),
    TEXT: ("home", "b"),
    COMPARE: ("home", "space", "j", "d"),
    INGEST: ("i",),
}
# What is typed into a field, after the key that opens it.
TYPED: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("filter", ("slash",), "is:open ext:redis last:30d sort:n"),
    ("help", ("question_mark",), "regress"),
    ("palette", ("colon",), "undo"),
    ("note", ("n",), "see wiki"),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """One key: where, what it does, and milliseconds."""

    place: str
    key: str
    does: str
    wall: float
    cpu: float


def crashes(count: int) -> Iterator[Crash]:
    """Crashes over a year; a few clusters have most of them, and some crashes have no cluster."""
    chance = random.Random(7)
    for number in range(count):
        cluster = min(int(chance.expovariate(1 / 40)), CLUSTERS - 1)
        kind = sample(cluster)
        yield replace(
            kind,
            id=f"{number:016x}", core=f"/var/crash/core.{number}", host=f"web{number % 12}", pid=number % 30_000,
            time=START + timedelta(seconds=chance.randrange(365 * 86_400)),
            signature=None if number % LOOSE_SHARE == 1 else kind.signature,
        )  # fmt: skip


@cache
def sample(cluster: int) -> Crash:
    """A crash with functions of its own: what looks alike would be put into one cluster."""
    found = whole(SAMPLE)
    thread = found.threads[0]
    frames = tuple(
        replace(frame, function=f"{'zend_place' if not at else frame.function}_{cluster}")
        for at, frame in enumerate(thread.frames)
    )
    title = f"zend_place_{cluster} ◂ App\\Job{cluster}::run()"
    return replace(
        found, threads=(replace(thread, frames=frames),), signature=Signature(key=f"v1:{cluster}", title=title)
    )


def fill(store: Store, count: int) -> None:
    """The first crash of each cluster through the store's door, the others as rows: one by one they take minutes."""
    with store._engines.writer.begin() as connection:
        clusters: dict[str, str | None] = {}
        rows = []
        for crash in crashes(count):
            key = crash.signature.key if crash.signature else ""
            if key and key not in clusters:
                clusters[key] = _put(connection, crash)
            else:
                rows.append(_row(crash, clusters.get(key)))
        connection.execute(insert(tables.crashes), rows)
        raise_revision(connection)
    decide(store)


def _put(connection: Connection, crash: Crash) -> str | None:
    """The cluster of the crash, which is in the store then."""
    writer = writes.Writer(connection, Recent())
    kept = writer.put(filed(Outcome(core=crash.core, status=crash.status, crash=crash)), None, is_new=True)
    writer.flush()
    return kept.crash.cluster if kept.crash else None


def decide(store: Store) -> None:
    """Decisions of all kinds and recorded deploys, as a store has that is used."""
    for number in range(40):
        at = START + timedelta(days=9 * number)
        store.add_change(Change(time=at.timestamp(), kind="deploy", what=f"deploy v4.{number}", source="bench"))
    for number, cluster in enumerate(store.clusters(members=False)[:120]):
        at = START + timedelta(days=300)
        states = (
            Decision(state=State.FIXED, at=at, by="ann", fixed_in=f"v4.{number % 40}"),
            Decision(state=State.FIXED, at=at, by="ann", fixed_in="8.2.30"),
            Decision(state=State.IGNORED, at=at, by="ann", until=">50/d"),
            Decision(state=State.KNOWN, at=at, by="ann", bug="https://bugs.example/1"),
        )
        store.mark(cluster.id, states[number % 4])


def _row(crash: Crash, cluster: str | None) -> dict[str, object]:
    """As `writes` makes it, with the record of a sample: to make each anew would take most of the time."""
    return {
        "id": crash.id, "cluster": cluster, "core": crash.core, "status": "ok", "time": crash.time,
        "host": crash.host, "pid": crash.pid, "executable": crash.executable, "signal": "SIGSEGV",
        "runtime": "php 8.2.29", "script": "/srv/shop/public/index.php",
        "title": crash.signature.title if crash.signature else None, "record": _record(crash),
    }  # fmt: skip


def _record(crash: Crash) -> str:
    kind = int((crash.threads[0].frames[0].function or "").rpartition("_")[2])
    return _record_of(kind).replace(SAMPLE, crash.id)


@cache
def _record_of(kind: int) -> str:
    return json.dumps(crash_to_json(sample(kind)))


def first_paint(path: Path) -> tuple[float, float]:
    """(wall, CPU) milliseconds from the start of the process to the list on its terminal, the best of five."""
    return min(_start(path) for _ in range(5))


def _start(path: Path) -> tuple[float, float]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    argv = [sys.executable, "-m", "triage", "tui", "--store", str(path)]
    surroundings = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    begun = time.monotonic()
    process = subprocess.Popen(
        argv,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=surroundings,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    os.close(slave)
    try:
        said = b""
        while b"zend_place" not in said:
            said += os.read(master, 65_536)
        wall = time.monotonic() - begun
        stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
        cpu = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return wall * 1000, cpu * 1000


class Keys:
    """Presses keys and takes the time until the screen has answered: not until what it reads beside has come."""

    def __init__(self, app: TriageApp, pilot: Pilot[None]) -> None:
        self._app, self._pilot = app, pilot
        self.screen = Screen(app, pilot)
        self.taken: list[Taken] = []
        self._presses = 0

    async def go(self, *keys: str) -> None:
        """Press without taking the time, and wait for everything."""
        for key in keys:
            await self.screen.tap(key)
            self.screen.lines()
            await self._settle()

    async def measure(self, place: str, key: str, does: str) -> None:
        """Press one key, then wait for everything: what is left over is not to be the next key's."""
        self._presses += 1
        wall, cpu = time.perf_counter(), time.thread_time()
        await self.screen.tap(key)
        self.screen.lines()
        wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
        self.taken.append(Taken(place, key, does, wall * 1000, cpu * 1000))
        await self._settle()

    async def _settle(self) -> None:
        """Until all is read that the screen waits for; what is worked out in another process is not waited for."""
        self._app.workers.cancel_group(self._app.screen, "insight")
        await self.screen.settle()
        if self._presses % _COLLECTED == 0:
            gc.collect()  # as TriageApp.tidy does where there is a terminal

    async def home(self) -> None:
        """Back to the list, however far away it is."""
        while len(self._app.screen_stack) > 2:
            self._app.pop_screen()
            await self._pilot.pause()
        await self._settle()


@asynccontextmanager
async def interface(path: Path, folder: str) -> AsyncIterator[Keys]:
    """The interface over the store, without a terminal."""
    with open_store(f"sqlite:///{path}") as store:
        app = TriageApp(store, label="bench", store=f"sqlite:///{path}")
        async with app.run_test(size=SIZE) as pilot:
            keys = Keys(app, pilot)
            await keys.screen.settle()
            ahead.collect_less()  # as it is where there is a terminal
            yield keys
            if app.reading is not None:
                app.reading.close()
    gc.unfreeze()
    gc.collect()


async def measured(path: Path, folder: str) -> list[Taken]:
    """Every key of every screen, each in a state as a reader finds it."""
    async with interface(path, folder) as keys:
        for place, way in WAYS.items():
            await reach(keys, place, way, folder)
            for action in actions_of(place):
                if action.name == "leave":
                    continue  # ends the program
                for key in action.keys[:1]:
                    before = len(keys._app.screen_stack)
                    await keys.measure(place, key, action.name)
                    elsewhere = len(keys._app.screen_stack) != before
                    if elsewhere or place == INBOX or isinstance(keys._app.screen.focused, Input):
                        if len(keys._app.screen_stack) > before:
                            await keys.measure(type(keys._app.screen).__name__, "escape", "leave it")
                        await reach(keys, place, way, folder)
        await keys.home()
        await typing(keys)
        return keys.taken


async def reach(keys: Keys, place: str, way: Sequence[str], folder: str) -> None:
    """Go to a screen."""
    await keys.home()
    keys._app.marked.clear()
    await keys.go("escape", *way)
    if place == INGEST and isinstance(keys._app.screen, Ask):  # not while the last reading still goes on
        await keys.go("end", *["backspace"] * 30, *folder, "enter")


async def typing(keys: Keys) -> None:
    """What is typed: the slowest of its keys, and the key that begins and ends it."""
    for name, way, text in TYPED:
        await keys.go("home")
        for key in way:
            await keys.measure(name, key, "open it")
        begun = len(keys.taken)
        for char in text:
            await keys.measure(name, {" ": "space", ":": "colon"}.get(char, char), "type")
        typed = keys.taken[begun:]
        keys.taken[begun:] = [max(typed, key=lambda one: one.cpu)]
        await keys.measure(name, "enter", "take it")
        await keys.home()
        await keys.go("escape")


def main() -> int:
    given = [one for one in sys.argv[1:] if one != "--alone"]
    count = int(given[0]) if given else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(given[1]) if len(given) > 1 else Path(folder) / "bench.db"
        if not path.exists():
            begun = time.perf_counter()
            with open_store(f"sqlite:///{path}") as store:
                fill(store, count)
            print(f"{count} crashes made in {time.perf_counter() - begun:.0f} s")
        if "--alone" in sys.argv:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        wall, cpu = first_paint(path)
        print(f"start to first list: {wall:.0f} ms (CPU {cpu:.0f} ms), limit {START_LIMIT:.0f} ms")
        empty = Path(folder) / "cores"
        empty.mkdir()
        (empty / "core.1").write_bytes(b"none")
        found = asyncio.run(measured(path, str(empty)))
    print(f"{'screen':<28} {'key':<22} {'does':<16} {'wall ms':>8} {'CPU ms':>8}")
    for one in found:
        slow = "  over" if one.cpu > LIMIT else ""
        print(f"{one.place:<28} {one.key:<22} {one.does:<16} {one.wall:8.1f} {one.cpu:8.1f}{slow}")
    worst = max(found, key=lambda one: one.cpu)
    over = sum(one.cpu > LIMIT for one in found)
    slow = sum(one.wall > LIMIT for one in found)
    print(f"{len(found)} keys; the slowest is {worst.key} in {worst.place}: CPU {worst.cpu:.1f} ms")
    print(f"over {LIMIT:.0f} ms: {over} in CPU, {slow} in wall time")
    return int(over > 0 or wall > START_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
