"""Where a fix runs, and since when: by the crashes under its version, and by the changes on record."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from triage import clock
from triage.model import Change, Decision

_INTERPRETER = re.compile(r"(php|python|ruby|perl)\d*(\.\d+)*(-.*)?")  # Debian's names of packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Where `Decision.fixed_in` runs, and since when, by what was seen: crashes under it, or recorded changes.

    `hosts` are single ones, `everywhere` is set by a change that named no host, and `event` is what that change was
    called. `version` is set when `fixed_in` is the interpreter's version, spelled as in `Stretch.version`;
    `before` are the versions the cluster crashed under before the decision, other than that one.
    """

    hosts: Mapping[str | None, datetime] = field(default_factory=dict)
    everywhere: datetime | None = None
    event: str | None = None
    version: str | None = None
    before: frozenset[str] = frozenset()

    def since(self, host: str | None) -> datetime | None:
        """Since when a host has it; `None` if it has it not, as far as is known."""
        known = [moment for moment in (self.hosts.get(host), self.everywhere) if moment is not None]
        return min(known, default=None)

    @property
    def known(self) -> bool:
        """Whether it is known to run anywhere."""
        return bool(self.hosts) or self.everywhere is not None


def rollout(
    decision: Decision,
    seen: Mapping[str, Mapping[str | None, datetime]],
    before: Iterable[str],
    changes: Iterable[Change],
) -> Rollout:
    """Where the fix of a decision runs.

    `seen` are the first crashes under each version and host, `before` the versions the cluster crashed under before
    the decision, `changes` those on record. A change in one pool only is left out: which pool a crash was
    in, a list of crashes does not tell.
    """
    fixed_in = decision.fixed_in or ""
    labels = (fixed_in, f"php {fixed_in}")  # a bare version is PHP's
    label = next((one for one in labels if one in seen), None)
    named = [change for change in changes if change.pool is None and names(change, fixed_in)]
    if label is None and any(_is_interpreter(change) for change in named):
        label = labels[-1]
    hosts = dict(seen.get(label or "", {}))
    for change in named:
        moment = clock.from_epoch(change.time)
        if change.host is not None:
            hosts[change.host] = min(moment, hosts.get(change.host, moment))
    global_ones = [change for change in named if change.host is None]
    first = min(global_ones or named, key=lambda change: change.time, default=None)
    return Rollout(
        hosts=hosts,
        everywhere=clock.from_epoch(first.time) if first is not None and global_ones else None,
        event=first.what if first is not None else None,
        version=label,
        before=frozenset(before) - {label} if label is not None else frozenset(),
    )


def names(change: Change, fixed_in: str) -> bool:
    """Whether a change brought what `fixed_in` names: a package's new version, or a word of the change's name.

    `v4.182` is named by `shop v4.182`, not by `v4.1820` nor by `v4.182.1`.
    """
    if not fixed_in:
        return False
    if change.packages:
        return any(new is not None and _is_version(new, fixed_in) for _, new in change.packages.values())
    what = change.what.rpartition("→")[2]  # of `a → b`, b is what there is since
    return re.search(rf"(?<![\w.-]){re.escape(fixed_in)}(?![\w-]|\.\w)", what, re.IGNORECASE) is not None


def _is_version(new: str, wanted: str) -> bool:
    """`8.2.30` is Debian's `1:8.2.30-1~deb12u1`."""
    return re.fullmatch(rf"(\d+:)?{re.escape(wanted)}([-+~].*)?", new) is not None


def _is_interpreter(change: Change) -> bool:
    return any(_INTERPRETER.fullmatch(name) for name in change.packages)
