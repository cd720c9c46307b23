"""What a person decided about a cluster."""

from __future__ import annotations

from datetime import datetime

from triage.model.record import record
from triage.model.words import State


@record
class Decision:
    """A state given to a cluster: when, by whom and why. The newest that is not undone holds.

    `until` says when `ignored` ends (`triage.states.until` has the words). `fixed_in` names the version or
    deploy that has the fix; `since` is when the fix was rolled out, on every host, where somebody said so.
    `began` is when the state was given, where a later note kept it. `bug` is a link to a bug report.
    `undone` is when it was taken back, and `undone_by` by whom.
    """

    state: State
    at: datetime
    by: str | None = None
    note: str | None = None
    bug: str | None = None
    until: str | None = None
    fixed_in: str | None = None
    since: datetime | None = None
    began: datetime | None = None
    undone: datetime | None = None
    undone_by: str | None = None

    @property
    def holds_from(self) -> datetime:
        """Crashes after this time are held against the state."""
        return self.began or self.at
