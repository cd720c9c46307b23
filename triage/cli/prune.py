"""`triage prune`: deletes cores that are not needed any more. Their records stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from triage.cli.common import Chosen, options, print_json
from triage.corefile.sources.collected import sidecar
from triage.model import CrashRow, Status
from triage.store import InputStamp, Store
from triage.text import clean, plural, size

_MANY = 1_000_000


@click.command()
@click.option("--keep", type=click.IntRange(min=1), default=3, show_default=True, metavar="N",
              help="Cores to keep of each cluster: the first, then the best read and newest.")  # fmt: skip
@click.option("--delete", is_flag=True, help="Delete them. Without this, only tell which.")
@options
def command(keep: int, delete: bool, chosen: Chosen) -> None:  # noqa: FBT001
    """Delete cores of clusters that have more than enough of them.

    Only files are deleted that were triaged into this store and have not changed since. What is known
    about each crash stays, with its stack; what needs the core (debug, pack, --values) goes with it.
    """
    with chosen.open_store() as store, store.lock():
        files = [(row, stamp) for cluster in store.clusters() for row, stamp in _spare(store, cluster.id, keep)]
        gone = [(row, taken) for row, taken in files if not delete or _remove(Path(row.core))]
    total = sum(taken for _, taken in gone)
    if chosen.json:
        print_json({"deleted": delete, "bytes": total, "cores": [row.core for row, _ in gone]})
        return
    for row, taken in gone:
        print(f"{'deleted' if delete else 'would delete'}  {clean(row.core)}  {size(taken)}")
    verb = "deleted" if delete else "could be deleted (--delete)"
    chosen.say(f"{plural(len(gone), 'core')}, {size(total)} {verb}; all records stay")


def _spare(store: Store, cluster: str, keep: int) -> Iterator[tuple[CrashRow, int]]:
    """The crashes of a cluster whose cores are not among those to keep, with what they take on the disk."""
    there = [(row, taken) for row in store.crash_rows(cluster, limit=_MANY) if (taken := _unchanged(store, row))]
    if len(there) <= keep:
        return
    oldest = min(there, key=lambda pair: (pair[0].time is None, pair[0].time, pair[0].id))
    best = sorted(there, key=lambda pair: _worth(pair[0]), reverse=True)
    kept = {oldest[0].id, *(row.id for row, _ in best[: max(0, keep - 1)])}
    for row, _ in best:
        if len(kept) < keep:
            kept.add(row.id)
    yield from (pair for pair in there if pair[0].id not in kept)


def _worth(row: CrashRow) -> tuple[bool, bool, float]:
    """Whole ones first, then those whose interpreter was read, then newer ones."""
    return row.status is Status.OK, row.runtime is not None, row.time.timestamp() if row.time else 0.0


def _unchanged(store: Store, row: CrashRow) -> int:
    """Bytes on the disk of the very file that was triaged; 0 when it is gone or another one."""
    try:
        status = Path(row.core).lstat()
    except OSError:
        return 0
    stamp = InputStamp(size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)
    seen = store.seen(row.core, stamp)
    return max(1, status.st_blocks * 512) if seen is not None and seen.crash and seen.crash.id == row.id else 0


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False  # already gone, or not ours to delete
    with suppress(OSError):
        sidecar(path).unlink()
    return True
