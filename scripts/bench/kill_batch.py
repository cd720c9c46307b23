"""kill -9 at random moments of a batch, over and over: no record may be lost or doubled.

    python scripts/bench/kill_batch.py [ROUNDS [JOBS]]     default 100 rounds, 1 process

With JOBS there are so many cores that several are handed out, and stored, together.
Prints one line; exit status 1 when the store differs from that of a run that was left alone.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.lab.native import SOURCES  # noqa: E402
from triage.demo.lab import Process, crash  # noqa: E402

_CORES, _CORES_A_JOB = 30, 48


def main() -> int:
    """Run the rounds and compare."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    jobs = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    folder = Path(tempfile.mkdtemp(prefix="triage-kill-"))
    try:
        cores = _cores(folder, _CORES if jobs == 1 else _CORES_A_JOB * jobs)
        alone = _batch(folder / "alone.db", cores, jobs)
        alone.wait()
        expected = _content(folder / "alone.db")
        choice, kills, fresh, bad = random.Random(7), 0, 0, []
        store = folder / "killed-0.db"
        for number in range(rounds):
            process = _batch(store, cores, jobs)
            time.sleep(choice.uniform(0.2, 6.0))
            if process.poll() is None:
                process.kill()
                kills += 1
            process.wait()
            bad += _damage(store, expected)
            if number % 10 == 9:  # finish this store and begin another
                _batch(store, cores, jobs).wait()
                fresh += 1
                if _content(store) != expected:
                    bad.append(f"round {number}: {store.name} differs from the run that was left alone")
                store = folder / f"killed-{number + 1}.db"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{rounds} rounds, {kills} killed in the middle, {fresh} stores finished: "
          f"{len(expected[0])} crashes each, {len(bad)} faults")  # fmt: skip
    for line in bad[:10]:
        print(line)
    return 1 if bad else 0


def _cores(folder: Path, count: int) -> Path:
    program, cores = folder / "faults", folder / "cores"
    cores.mkdir()
    subprocess.run(["gcc", "-w", "-o", str(program), str(SOURCES / "faults.c"), "-pthread", "-lm"], check=True)
    for number in range(count):
        run = folder / f"run{number}"
        run.mkdir()
        name = ("null_write", "wild_read", "assertion")[number % 3]
        crash(Process(argv=(str(program), name), folder=run, env={}), cores / f"core.{number:02d}")
    return cores


def _batch(store: Path, cores: Path, jobs: int) -> subprocess.Popen[bytes]:
    options = ["--json", "--jobs", str(jobs), "--store", str(store)]
    command = [sys.executable, "-m", "triage", "batch", *options, str(cores)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)


def _content(store: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]], int]:
    """Crashes with their clusters' signatures, inputs with their crashes, arrivals."""
    with sqlite3.connect(store) as base:
        crashes = base.execute(
            "SELECT c.id, k.signature FROM triage_crashes c JOIN triage_clusters k ON k.id = c.cluster ORDER BY 1"
        ).fetchall()
        inputs = base.execute("SELECT path, crash FROM triage_inputs ORDER BY 1").fetchall()
        arrivals = base.execute("SELECT count(*) FROM triage_arrivals").fetchone()[0]
    return crashes, inputs, arrivals


def _damage(store: Path, expected: tuple[list[tuple[str, str]], list[tuple[str, str]], int]) -> list[str]:
    """What is wrong with a store right after the kill: it may hold less, never anything else."""
    if not store.exists():
        return []
    try:
        with sqlite3.connect(store) as base:
            whole = base.execute("PRAGMA integrity_check").fetchone()[0]
            records = base.execute("SELECT record FROM triage_crashes").fetchall()
        for (record,) in records:
            json.loads(record)
        crashes, inputs, arrivals = _content(store)
    except sqlite3.OperationalError as error:
        return [] if "no such table" in str(error) else [f"{store.name}: {error}"]
    wrong = [whole] if whole != "ok" else []
    wrong += ["a crash that is not expected"] if not set(crashes) <= set(expected[0]) else []
    wrong += ["doubled"] if len({row[0] for row in crashes}) != len(crashes) else []
    wrong += ["inputs, crashes and arrivals disagree"] if not len(crashes) == len(inputs) == arrivals else []
    return [f"{store.name}: {text}" for text in wrong]


if __name__ == "__main__":
    sys.exit(main())
