"""What the store's last write saw of it, for the next one: good only while nobody else wrote in between.

Every writer raises the store's revision first. Where it has risen by one since our own last write, all
that was read then still holds, and most crashes of a batch are like one before them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from triage.query.facts import Fact

Look = tuple[str, tuple[str, ...], str]
_MOST = 5000


@dataclass(slots=True)
class Recent:
    """`roots` has the cluster of each key that is known, redirects followed; `origins` the one that learned it.

    `titles` are, by cluster, those of crashes that leave its title as it is; `facts` all it has, and `told`
    digests of facts that are among them. `looks` are exemplars that a cluster has or has no room for. `settled`
    has the cluster of a key, aliases and profile from which nothing was learned. `changes` counts what was learned.

    `pins` and `logs` tell whether any crash is pinned, and whether any comes from a log; `None` where nobody
    asked yet. `latest` is when something new came in last.
    """

    revision: int | None = None
    roots: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    titles: dict[str, set[str]] = field(default_factory=dict)
    facts: dict[str, set[Fact]] = field(default_factory=dict)
    told: set[tuple[str, str]] = field(default_factory=set)
    looks: set[tuple[str, str]] = field(default_factory=set)
    settled: dict[Look, str] = field(default_factory=dict)
    changes: int = 0
    pins: bool | None = None
    logs: bool | None = None
    latest: datetime | None = None

    def begin(self, revision: int) -> None:
        """A write begins that made the revision this number."""
        if self.revision is None or revision != self.revision + 1 or self._is_full():
            self.forget()
            self.pins = self.logs = self.latest = None
        self.revision = None  # until it is done: a write that fails leaves nothing that holds

    def _is_full(self) -> bool:
        return max(len(self.roots), len(self.settled), len(self.told)) > _MOST

    def done(self, revision: int) -> None:
        """That write was committed."""
        self.revision = revision

    def forget(self) -> None:
        """What was known of the clusters holds no longer."""
        self.roots.clear()
        self.origins.clear()
        self.titles.clear()
        self.facts.clear()
        self.told.clear()
        self.looks.clear()
        self.settled.clear()
        self.changes += 1
