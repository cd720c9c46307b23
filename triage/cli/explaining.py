"""`triage clusters --explain A B`, and what was merged and split."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from triage import clock
from triage.cli.common import Chosen, print_json, print_rows
from triage.cluster.profile import Profile, profile_of
from triage.cluster.signature import signature_of
from triage.cluster.similarity import Comparison, compare, weights
from triage.errors import UsageError
from triage.model import Crash, Incident, Regrouping
from triage.report import comparison_json, comparison_text
from triage.store import Store
from triage.text import clean, plural
from triage.wire import incident_to_json, regrouping_to_json


@dataclass(frozen=True, slots=True)
class Side:
    """A cluster or a crash that is compared: what stands for it, and the exact keys it came with."""

    name: str
    cluster: str | None
    profiles: tuple[Profile, ...]
    keys: frozenset[str]


def explain(pair: tuple[str, str], chosen: Chosen) -> None:
    """Print why the two are together or apart."""
    with chosen.open_store() as store:
        one, other = (_side(store, name) for name in pair)
    found = _nearest(one, other)
    given, names = weights(), (one.name, other.name)
    together = one.cluster is not None and one.cluster == other.cluster
    shared = tuple(sorted(one.keys & other.keys))
    if chosen.json:
        print_json(comparison_json.to_json(names, found, given, together=together, shared=shared))
        return
    for line in comparison_text.lines(names, found, given, together=together, shared=shared):
        print(line)


def print_changes(changes: list[Regrouping], chosen: Chosen) -> None:
    """The merges and splits, the newest first."""
    if chosen.json:
        print_json([regrouping_to_json(change) for change in changes])
    elif not chosen.terminal:
        rows = [[change.number, change.kind, change.cluster, change.target, change.by, _time(change), change.undone
                 and clock.iso(change.undone), change.why] for change in changes]  # fmt: skip
        print_rows(("change", "kind", "cluster", "target", "by", "time", "undone", "why"), rows)
    elif not changes:
        chosen.say("No cluster was merged or split yet.")
    else:
        for change in changes:
            print(_sentence(change))


def print_incidents(incidents: list[Incident], chosen: Chosen) -> None:
    """Clusters that share what tells the culprit of a memory corruption."""
    if chosen.json:
        print_json([incident_to_json(incident) for incident in incidents])
    elif not chosen.terminal:
        rows = [[incident.count, ",".join(incident.clusters), _moment(incident.first_seen),
                 _moment(incident.last_seen), incident.what] for incident in incidents]  # fmt: skip
        print_rows(("count", "clusters", "first_seen", "last_seen", "what"), rows)
    elif not incidents:
        chosen.say("No clusters look like victims of one memory corruption.")
    else:
        for incident in incidents:
            crashes, first = plural(incident.count, "crash"), _moment(incident.first_seen)
            print(f"{crashes} in {', '.join(incident.clusters)}, since {first or 'an unknown time'}")
            print(f"  may be victims of one memory corruption: {clean(incident.what, limit=110)}")


def _moment(moment: datetime | None) -> str:
    return clock.iso(moment) if moment else ""


def _sentence(change: Regrouping) -> str:
    word = "merged into" if change.kind == "merge" else "split off as"
    undone = ", taken back" if change.undone else ""
    why = f": {clean(change.why, limit=80)}" if change.why else ""
    return f"{change.number:>4}  {_time(change)}  {change.cluster} {word} {change.target} by {change.by}{undone}{why}"


def _time(change: Regrouping) -> str:
    return clock.iso(change.time) if change.time else ""


def _side(store: Store, name: str) -> Side:
    """The cluster, or else the crash, of that name."""
    try:
        cluster = store.cluster(name)
    except UsageError:
        if name.startswith("C-"):
            raise
        crash = store.crash(name)
        return Side(crash.id, crash.cluster, (profile_of(crash),), _keys(crash))
    profiles = store.exemplars(cluster.id)
    newest = [store.crash(id_) for id_ in cluster.crashes[:1]]
    keys = frozenset(key for crash in newest for key in _keys(crash))
    return Side(cluster.id, cluster.id, tuple(profiles) or tuple(map(profile_of, newest)), keys)


def _keys(crash: Crash) -> frozenset[str]:
    signature = crash.signature or signature_of(crash)
    return frozenset((signature.key, *signature.aliases))


def _nearest(one: Side, other: Side) -> Comparison:
    """The comparison of the two crashes that are most alike."""
    found = [compare(a, b) for a in one.profiles for b in other.profiles]
    if not found:
        raise UsageError("one of the two has no crash to compare", help="`triage clusters` lists those that have.")
    return max(found, key=lambda comparison: comparison.score)
