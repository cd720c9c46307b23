"""What the processes of test_store_processes.py do; spawned, so importable."""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path

from triage.store import open_store

from .samples import STAMP, at, crash, triaged


def save_some(url: str, name: str, number: int) -> None:
    """Save `number` crashes, half of them in clusters that the others save to as well."""
    with open_store(url) as store:
        for i in range(number):
            key = f"v1:shared-{i % 3}" if i % 2 else f"v1:{name}"
            store.save(triaged(crash(f"{name}-{i:04}", key=key, time=at(i))), STAMP)


def save_for_ever(url: str, name: str, told: Path) -> None:
    """Save until killed; each id is written to `told` once it is committed."""
    out = os.open(told, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    with open_store(url) as store:
        for i in count():
            id_ = f"{name}-{i:06}"
            store.save(triaged(crash(id_, key=f"v1:{i % 7}")), STAMP)
            os.write(out, f"{id_}\n".encode())


def hold_lock(url: str, told: Path) -> None:
    """Hold the batch lock until killed."""
    with open_store(url) as store, store.lock():
        told.write_text("held")
        time.sleep(60)


def hold_lock_and_fork(url: str, told: Path) -> None:
    """Hold the batch lock, with a forked child that outlives us; its pid is told."""
    with open_store(url) as store, store.lock():
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        told.with_suffix(".tmp").write_text(str(child))
        told.with_suffix(".tmp").rename(told)
        time.sleep(60)
