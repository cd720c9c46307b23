"""The story this project exists for, end to end, on this machine: real php-fpm, real crashes, real cores.

    .venv/bin/python scripts/bench/story.py [FOLDER]

Eight pools of php-fpm with different settings serve the same page. Their extension (fixtures/ext/shopcache.c, ours)
writes past a block of PHP's memory, but only where `shopcache.compress` and `shopcache.prefetch` are both on, and
only for large carts. For twelve days all is well, then a deploy switches prefetch on in some pools. What then is
known comes from the cores, from `triage baseline`'s snapshots and from `triage event`. Only time is played: twelve
days pass in a minute or two (the clock of triage.clock and the cores' times are set), everything else is as it is.
The last line says whether the tool named victim and not cause, both settings, the beginning and the change.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.lab.extension import build
from tests.lab.fpm import find_fpm
from tests.lab.php import FIXTURES
from triage import clock
from triage.config import Settings
from triage.explain import Context, write_page
from triage.insight import baseline
from triage.insight.page import parts
from triage.insight.why import Why, investigate
from triage.insight.words import rule_text
from triage.model import Change
from triage.pipeline import Pipeline
from triage.report.explain_text import page_lines, part_lines
from triage.store import InputStamp, Store, open_store

DAYS, BEFORE, ROUNDS = 14, 12, 46
# Eight pools; each option is on in some of them, for reasons of their own.
POOLS = {
    "shop": {"compress": 1, "prefetch": 0, "ttl": 60, "memory": "256M"},
    "shop-eu": {"compress": 1, "prefetch": 0, "ttl": 90, "memory": "256M"},
    "api": {"compress": 1, "prefetch": 0, "ttl": 60, "memory": "128M"},
    "admin": {"compress": 1, "prefetch": 0, "ttl": 300, "memory": "512M"},
    "blog": {"compress": 0, "prefetch": 0, "ttl": 60, "memory": "128M"},
    "feeds": {"compress": 0, "prefetch": 0, "ttl": 90, "memory": "256M"},
    "search": {"compress": 0, "prefetch": 1, "ttl": 60, "memory": "256M"},
    "images": {"compress": 0, "prefetch": 1, "ttl": 90, "memory": "512M"},
}
SWITCHED = ("shop", "shop-eu", "blog")


class Lapse:
    """A clock that the story moves."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC) - timedelta(days=DAYS)

    def now(self) -> datetime:
        """The time in the story."""
        return self.moment

    def pass_(self, **span: float) -> None:
        """Let time go by."""
        self.moment += timedelta(**span)


def configuration(folder: Path, extension: Path, pools: dict[str, dict[str, object]]) -> Path:
    """php-fpm's file for these pools."""
    lines = ["[global]", f"error_log = {folder}/log", "daemonize = no"]
    for name, settings in pools.items():
        lines += [f"[{name}]", f"listen = {folder}/{name}.sock", "pm = static", "pm.max_children = 2",
                  f"chdir = {folder}/www", "rlimit_core = unlimited", "process.dumpable = yes", "clear_env = no",
                  f"php_admin_value[shopcache.compress] = {settings['compress']}",
                  f"php_admin_value[shopcache.prefetch] = {settings['prefetch']}",
                  f"php_admin_value[shopcache.ttl] = {settings['ttl']}",
                  f"php_admin_value[memory_limit] = {settings['memory']}"]  # fmt: skip
    path = folder / "fpm.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextmanager
def fleet(folder: Path, extension: Path, pools: dict[str, dict[str, object]]) -> Iterator[None]:
    """The pools, running."""
    path = configuration(folder, extension, pools)
    for old in folder.glob("*.sock"):
        old.unlink()
    argv = [find_fpm() or "php-fpm", "-F", *(["-R"] if os.geteuid() == 0 else []), "-y", str(path),
            "-d", f"extension={extension}"]  # fmt: skip
    with (folder / "out").open("ab") as out:
        server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        end = time.monotonic() + 30
        while len(list(folder.glob("*.sock"))) < len(pools):
            if server.poll() is not None or time.monotonic() > end:
                raise SystemExit("php-fpm did not start: " + (folder / "log").read_text()[-500:])
            time.sleep(0.05)
        time.sleep(1)  # until all workers wait for requests
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def ask(folder: Path, pool: str, items: int) -> None:
    """One request."""
    script = f"{folder}/www/shop.php"
    environment = {
        "PATH": os.environ["PATH"], "SCRIPT_FILENAME": script, "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/shop.php",
        "REQUEST_URI": f"/checkout/{pool}", "QUERY_STRING": f"items={items}", "SERVER_PROTOCOL": "HTTP/1.1",
    }  # fmt: skip
    subprocess.run(["cgi-fcgi", "-bind", "-connect", f"{folder}/{pool}.sock"], env=environment, capture_output=True,
                   timeout=30, check=False, stdin=subprocess.DEVNULL)  # fmt: skip


def serve(folder: Path, lapse: Lapse, rng: random.Random, pools: list[str], days: float, requests: int) -> None:
    """Requests to all pools alike, over so many days; cores get the time of the story."""
    for _ in range(requests):
        lapse.pass_(days=days / requests)
        ask(folder, rng.choice(pools), 40 if rng.random() < 0.4 else 3)
        for core in (folder / "www").glob("core*"):
            _settled(core)
            moment = lapse.now().timestamp()
            kept = folder / "cores" / f"core.{int(moment)}.{core.name.rsplit('.', 1)[-1]}"
            shutil.move(core, kept)
            os.utime(kept, (moment, moment))


def _settled(core: Path) -> None:
    """The kernel is still writing as long as it grows."""
    size = -1
    while size != core.stat().st_size:
        size = core.stat().st_size
        time.sleep(0.1)


def live(folder: Path, store: Store, lapse: Lapse) -> None:
    """The two weeks."""
    rng = random.Random(7)
    extension = build(folder / "shopcache.so", _version(), source=FIXTURES.parent / "ext" / "shopcache.c")
    pools = {name: dict(settings) for name, settings in POOLS.items()}
    clock.now = lapse.now
    with fleet(folder, extension, pools):
        for day in range(BEFORE):
            serve(folder, lapse, rng, list(pools), 1, 8)
            if day % 4 == 0:
                snapshot(store)
        told(store, lapse, "shop 46", "deploy", -6.2)
        told(store, lapse, "shop 47", "deploy", -3.1)
        told(store, lapse, "new product photos", "other", -1.4)
    told(store, lapse, "shop 48: prefetch on for shop, shop-eu, blog", "deploy", 0)
    for name in SWITCHED:
        pools[name]["prefetch"] = 1
    with fleet(folder, extension, pools):
        snapshot(store)
        serve(folder, lapse, rng, list(pools), DAYS - BEFORE, ROUNDS * 4)
        snapshot(store)


def _version() -> tuple[int, int]:
    said = subprocess.run(["php", "-n", "-r", "echo PHP_VERSION;"], capture_output=True, text=True, check=True).stdout
    major, minor = said.split(".")[:2]
    return int(major), int(minor)


def snapshot(store: Store) -> None:
    """`triage baseline`, of the pools of this story."""
    for one in baseline.take().snapshots:
        if one.pool in POOLS:
            store.add_snapshot(one)


def told(store: Store, lapse: Lapse, what: str, kind: str, days: float) -> None:
    """`triage event add`."""
    moment = lapse.now() + timedelta(days=days)
    store.add_change(Change(time=moment.timestamp(), kind=kind, what=what, source="triage event add"))


def triage(folder: Path, store: Store) -> int:
    """`triage batch`; how many cores there were."""
    cores = sorted((folder / "cores").iterdir())
    with Pipeline(Settings()) as pipeline:
        for core in cores:
            store.save(pipeline.triage(core), InputStamp(core.stat().st_size, core.stat().st_mtime_ns, 1))
    return len(cores)


def main(argv: list[str]) -> int:
    """Play it, print what the tool says, and hold that against the truth."""
    with tempfile.TemporaryDirectory(dir=argv[1] if len(argv) > 1 else None, prefix="story-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        (folder / "www").mkdir()
        (folder / "cores").mkdir()
        shutil.copy(FIXTURES / "shop.php", folder / "www")
        with open_store(f"sqlite:///{folder}/story.db") as store:
            lapse = Lapse()
            live(folder, store, lapse)
            count = triage(folder, store)
            cluster = max(store.clusters(), key=lambda one: one.count)
            print(f"# {count} cores, {len(store.clusters())} clusters; the largest is {cluster.id}\n")
            crash = store.crash(cluster.crashes[0])
            context = Context(cluster=cluster.id, count=cluster.count, first_seen=cluster.first_seen,
                              last_seen=cluster.last_seen, hosts=1)  # fmt: skip
            page = write_page(crash, context)
            print(f"$ triage explain {cluster.id}")
            page = replace(page, parts=tuple(part for part in page.parts if "How to find out" not in part.head))
            for line in page_lines(page):
                print(line.text)
            why = investigate(store, cluster)
            print(f"\n$ triage why {cluster.id} --evidence")
            for line in part_lines(parts(why), evidence=True):
                print(line.text)
            return verdict(why, page.parts, lapse)


def verdict(why: Why, page: object, lapse: Lapse) -> int:
    """Whether the tool found the truth."""
    said = why.setup.found.said
    first = why.changed.suspects[0].change if why.changed and why.changed.suspects else None
    step = why.changed.onset if why.changed else None
    switched = (lapse.now() - timedelta(days=DAYS - BEFORE)).timestamp()
    found = {
        "victim, not cause": "victim" in str(page) or "heap-damaged" in str(page) or "damaged" in str(page),
        "both settings": bool(said) and rule_text(said[0]) == "shopcache.compress=1 with shopcache.prefetch=1",
        "the beginning": step is not None and step.low <= switched + 86_400 and step.high >= switched,
        "the change": first is not None and "prefetch" in first.what,
    }
    print("\n# " + "; ".join(f"{name}: {'yes' if right else 'NO'}" for name, right in found.items()))
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
