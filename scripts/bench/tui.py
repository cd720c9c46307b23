#!/usr/bin/env python3
"""How quick the interface is with 100,000 crashes in the store.

usage: scripts/bench/tui.py [CRASHES] [STORE]

Makes a store of CRASHES crashes in 300 clusters (unless STORE is there already), then starts the interface without a
terminal and prints how long it takes from the start of Python to the first list on screen, and for each key from the
press to the screen as it is then. CPU times are of this process; wall times are longer on a busy machine.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sqlalchemy import insert

from tests.tui.driver import Screen
from tests.tui.samples import whole
from triage.model import Crash, Signature
from triage.store import open_store, tables, writes
from triage.store.recent import Recent
from triage.store.store import Store
from triage.tui.app import TriageApp
from triage.wire import crash_to_json

CLUSTERS = 300
SAMPLE = "ffffffffffffffff"
KEYS = (
    ("j",), ("pagedown",), ("end",), ("home",), ("slash",), ("i",), ("s",), ("colon",), ("o",), ("p",), ("e",),
    ("n",),
    ("enter",), ("escape",), ("space",), ("enter",), ("2",), ("t",), ("3",), ("4",), ("5",), ("end",), ("home",),
    ("pagedown",), ("enter",), ("j",), ("o",), ("2",), ("5",), ("right_square_bracket",), ("question_mark",),
    ("escape",), ("escape",), ("escape",),
)  # fmt: skip


def crashes(count: int) -> Iterator[Crash]:
    """Crashes over a year; a few clusters have most of them."""
    chance = random.Random(7)
    start = datetime(2025, 11, 24, tzinfo=UTC)
    sample = whole()
    for number in range(count):
        cluster = min(int(chance.expovariate(1 / 25)), CLUSTERS - 1)
        title = f"zend_place_{cluster} ◂ App\\Job{cluster}::run()"
        yield replace(
            sample,
            id=f"{number:016x}", core=f"/var/crash/core.{number}", host=f"web{number % 12}", pid=number % 30_000,
            time=start + timedelta(seconds=chance.randrange(365 * 86_400)),
            signature=Signature(key=f"v1:{cluster}", title=title),
        )  # fmt: skip


def fill(store: Store, count: int) -> None:
    """The first crash of each cluster through the store's door, the others as rows: one by one they take minutes."""
    with store._engines.writer.begin() as connection:
        clusters: dict[str, str | None] = {}
        rows = []
        for crash in crashes(count):
            key = crash.signature.key if crash.signature else ""
            if key not in clusters:
                clusters[key] = writes.put_crash(connection, crash, Recent(), is_new=True).cluster
            else:
                rows.append(_row(crash, clusters[key]))
        connection.execute(insert(tables.crashes), rows)
        writes.raise_revision(connection)


def _row(crash: Crash, cluster: str | None) -> dict[str, object]:
    """As `writes` makes it, with the record of the sample: to make each anew would take most of the time."""
    record = _record().replace(SAMPLE, crash.id)
    return {
        "id": crash.id, "cluster": cluster, "core": crash.core, "status": "ok", "time": crash.time,
        "host": crash.host, "pid": crash.pid, "executable": crash.executable, "signal": "SIGSEGV",
        "runtime": "php 8.2.29", "script": "/srv/shop/public/index.php",
        "title": crash.signature.title if crash.signature else None, "record": record,
    }  # fmt: skip


@cache
def _record() -> str:
    return json.dumps(crash_to_json(whole(SAMPLE)))


START = """
import time
begun = time.perf_counter()
import asyncio, json, resource, sys
from triage.store import open_store
from triage.tui.app import TriageApp
async def main():
    with open_store("sqlite:///" + sys.argv[1]) as store:
        app = TriageApp(store, label="bench")
        async with app.run_test(size=(120, 36)) as pilot:
            while not any("zend_place" in strip.text for strip in app.screen._compositor.render_strips()):
                await asyncio.sleep(0.002)
            used = resource.getrusage(resource.RUSAGE_SELF)
            print(json.dumps([time.perf_counter() - begun, used.ru_utime + used.ru_stime]), flush=True)
asyncio.run(main())
"""


def first_paint(path: Path) -> tuple[float, float]:
    """(wall, CPU) seconds from the start of Python's work to the list on screen, the best of five."""
    runs = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", START, str(path)], capture_output=True, text=True, check=True)
        runs.append(tuple(json.loads(done.stdout)))
    wall, cpu = min(runs)
    return wall, cpu


async def keys(path: Path) -> list[tuple[str, str, float, float]]:
    """(screen, key, wall, CPU) until the screen has answered: not until what it reads beside has come."""
    taken = []
    with open_store(f"sqlite:///{path}") as store:
        app = TriageApp(store, label="bench")
        async with app.run_test(size=(120, 36)) as pilot:
            screen = Screen(app, pilot)
            await screen.settle()
            for pressed in KEYS:
                place = type(app.screen).__name__
                wall, cpu = time.perf_counter(), time.thread_time()
                await pilot.press(*pressed)
                await pilot.pause()
                screen.lines()
                taken.append((place, pressed[0], time.perf_counter() - wall, time.thread_time() - cpu))
                await screen.settle()
    return taken


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder) / "bench.db"
        if not path.exists():
            begun = time.perf_counter()
            with open_store(f"sqlite:///{path}") as store:
                fill(store, count)
            print(f"{count} crashes made in {time.perf_counter() - begun:.0f} s")
        wall, cpu = first_paint(path)
        print(f"start to first list: {wall * 1000:.0f} ms (CPU {cpu * 1000:.0f} ms), limit 1000 ms")
        print(f"{'screen':<14} {'key':<22} {'wall ms':>8} {'CPU ms':>8}")
        found = asyncio.run(keys(path))
        for place, key, wall, cpu in found:
            print(f"{place:<14} {key:<22} {wall * 1000:8.1f} {cpu * 1000:8.1f}")
        worst = max(found, key=lambda row: row[3])
        print(f"the slowest key: {worst[1]} in {worst[0]}, CPU {worst[3] * 1000:.1f} ms, limit 100 ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
