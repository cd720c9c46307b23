"""What the interface asks of a store. `triage.store.Store` has it; tests may bring their own."""

from __future__ import annotations

from typing import Protocol

from triage.model import Cluster, Crash, CrashRow


class Reader(Protocol):
    """Read access to crashes and clusters; every method may be called from any thread."""

    def clusters(self) -> list[Cluster]:
        """All clusters, the one that crashed last first."""
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

    def revision(self) -> object:
        """Changes whenever the store's content does."""
        ...
