"""What the first screen shows of the store; read while the interface is still being loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread

from triage import clock
from triage.model import Cluster
from triage.query import Query
from triage.tui.days import since_days
from triage.tui.reader import Reader

DAYS = 14


@dataclass(frozen=True, slots=True)
class Found:
    """What one reading brought. `total` counts all clusters, selected or not; `loose` crashes in none."""

    clusters: Sequence[Cluster]
    days: Mapping[str, Mapping[int, int]]
    total: int
    loose: int


def find(reader: Reader, query: Query) -> Found:
    """The clusters that a query selects."""
    clusters = reader.clusters(query, members=False)
    total = len(clusters) if not query.terms else len(reader.clusters(members=False))
    days = reader.per_day(since_days(clock.now(), DAYS))
    return Found(clusters, days, total, reader.loose_count())


def begin(reader: Reader) -> Future[Found]:
    """Begin to read all clusters, beside whatever else is done. What goes wrong is raised by its `result`."""
    found: Future[Found] = Future()

    def read() -> None:
        try:
            found.set_result(find(reader, Query()))
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            found.set_exception(error)

    Thread(target=read, name="triage-first", daemon=True).start()
    return found
