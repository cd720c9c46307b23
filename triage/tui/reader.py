"""What the interface asks of a store. `triage.store.Store` has it; tests may bring their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from triage.model import Change, Cluster, Crash, CrashRow, Decision, Regrouping
from triage.query import Query


class Reader(Protocol):
    """Access to crashes and clusters, and to what is decided; every method may be called from any thread."""

    def clusters(self, query: Query | None = None, *, members: bool = True) -> list[Cluster]:
        """The clusters a query selects, the one that crashed last first; without `members` no crash is named."""
        ...

    def cluster(self, id_or_prefix: str) -> Cluster:
        """One cluster."""
        ...

    def crash(self, id_or_prefix: str) -> Crash:
        """One crash whole."""
        ...

    def crash_rows(self, cluster: str | None = None, limit: int = 500, offset: int = 0) -> list[CrashRow]:
        """Crashes as lists show them, newest first."""
        ...

    def loose_rows(self, limit: int = 500, offset: int = 0) -> list[CrashRow]:
        """Crashes that are in no cluster, newest first."""
        ...

    def loose_count(self) -> int:
        """How many those are."""
        ...

    def per_day(self, since: datetime, cluster: str | None = None) -> dict[str, dict[int, int]]:
        """Crashes a day by cluster; days since 1970 (UTC)."""
        ...

    def decisions(self, cluster: str) -> list[Decision]:
        """All that was ever decided about a cluster, the newest first."""
        ...

    def mark(self, cluster: str, decision: Decision) -> Cluster:
        """Add a decision."""
        ...

    def undo(self, cluster: str, *, at: datetime, by: str | None) -> tuple[Cluster, Decision | None]:
        """Take the newest decision back."""
        ...

    def changes(self) -> list[Change]:
        """What was changed on the servers, the earliest first."""
        ...

    def split(self, crashes_: Sequence[str], why: str | None = None) -> Regrouping:
        """Put crashes into a cluster of their own."""
        ...

    def revision(self) -> object:
        """Changes whenever the store's content does."""
        ...
