"""Which clusters and which crashes a query selects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from triage.model import Change, Cluster, Crash, CrashRow, Flag, State, Status
from triage.query.deploys import KIND, running
from triage.query.facts import Fact, facts_of
from triage.query.keys import KEYS, Key, Kind
from triage.query.parse import Query, Term

Facts = Callable[[str], Mapping[str, Sequence[str]]]
"""For a key of FACT_KEYS, and for `deploy`: the values that the crashes of each cluster have, by the cluster's id."""

_WORD_KEYS = ("phpfn", "phpfile")  # where a word without a key is looked for beside the title


class Filter:
    """A query, ready to be asked; `facts` is called once a key, and only for keys the query has. `me` is who asks."""

    def __init__(self, query: Query, facts: Facts, *, me: str | None = None) -> None:
        self.query = query
        self._me = me
        self._facts = facts
        self._known: dict[str, Mapping[str, Sequence[str]]] = {}

    def cluster(self, cluster: Cluster) -> bool:
        """Whether the cluster is selected."""
        return all(self._holds(term, cluster) != term.negated for term in self.query.terms)

    def _holds(self, term: Term, cluster: Cluster) -> bool:
        if not term.key:
            values = [
                cluster.title,
                cluster.id,
                *(value for key in _WORD_KEYS for value in self._of(key, cluster.id)),
            ]
            return any(_is_part(wanted, value) for wanted in term.values for value in values)
        key = KEYS[term.key]
        if key.fact:
            return _any(term, key, self._of(key.name, cluster.id))
        if key.name == "is":
            return any(_is(word, cluster, self._me) for word in term.values)
        if term.ranges:
            number = _number(key.name, cluster)
            return number is not None and any(one.holds(number) for one in term.ranges)
        return _any(term, key, _own(key.name, cluster))

    def _of(self, key: str, cluster: str) -> Sequence[str]:
        if key not in self._known:
            self._known[key] = self._facts(key)
        return self._known[key].get(cluster, ())


def crash_matches(
    query: Query,
    row: CrashRow,
    cluster: Cluster | None,
    whole: Callable[[], Crash],
    *,
    me: str | None = None,
    deployed: Sequence[Change] = (),
) -> bool:
    """Whether a crash is selected: keys of the cluster are asked of its cluster, all others of the crash itself.

    `whole` reads the crash's record; it is called only when the row does not tell. `me` is who asks, `deployed` are
    the deploys on record, as `query.deploys.deploys` gives them.
    """
    facts: list[frozenset[Fact]] = []

    def of(key: str) -> list[str]:
        if key == KIND:
            under = running(deployed, row.host, row.time)
            return [under] if under is not None else []
        if not facts:
            facts.append(facts_of(whole()))
        return [value for name, value in facts[0] if name == key]

    return all(_crash_holds(term, row, cluster, of, me) != term.negated for term in query.terms)


def _crash_holds(
    term: Term, row: CrashRow, cluster: Cluster | None, of: Callable[[str], list[str]], me: str | None
) -> bool:
    if not term.key:
        shown = [row.title or "", row.id, row.cluster or "", row.script or ""]
        found = any(_is_part(wanted, value) for wanted in term.values for value in shown)
        return found or any(_is_part(w, value) for w in term.values for key in _WORD_KEYS for value in of(key))
    key = KEYS[term.key]
    own = _row_values(key.name, row)
    if own is not None:
        return _any(term, key, own)
    if key.fact:
        return _any(term, key, of(key.name))
    if key.name in ("last", "first"):
        return row.time is not None and any(one.holds(row.time.timestamp()) for one in term.ranges)
    if term.values == ("partial",):
        return row.status is Status.PARTIAL
    alone = Query(terms=(Term(term.key, term.values, term.ranges),))
    return cluster is not None and Filter(alone, _none, me=me).cluster(cluster)


def _none(_key: str) -> Mapping[str, Sequence[str]]:
    return {}


def _row_values(key: str, row: CrashRow) -> list[str] | None:
    """What the row itself has for a key; None if the row does not tell."""
    match key:
        case "id":
            return [row.id, row.cluster or ""]
        case "sig" | "top":
            return [row.title or ""]
        case "host":
            return [row.host or ""]
        case "php":
            return [_bare(row.runtime or "")]
        case "signal":
            return [row.signal or ""]
        case "status":
            return [row.status.value]
    return None


def _own(key: str, cluster: Cluster) -> Sequence[str]:
    match key:
        case "id":
            return [cluster.id]
        case "sig":
            return [cluster.title, cluster.signature]
        case "top":
            return [cluster.title.partition(" ◂ ")[0]]
        case "host":
            return cluster.hosts
        case "php":
            return [_bare(version) for version in cluster.versions]
        case "bug":
            return [cluster.decision.bug] if cluster.decision and cluster.decision.bug else []
        case "note":
            return [cluster.note] if cluster.note else []
    raise AssertionError(key)


def _bare(version: str) -> str:
    """`php 8.2.29` as `8.2.29`: the key says the rest. Of another interpreter the whole is kept."""
    return version.removeprefix("php ")


def _is(word: str, cluster: Cluster, me: str | None) -> bool:
    if word == "open":
        return cluster.open
    if word == "mine":
        return cluster.decision is not None and me is not None and cluster.decision.by == me
    return word == cluster.state.value or any(word == flag.value for flag in cluster.flags)


def _number(key: str, cluster: Cluster) -> float | None:
    if key == "n":
        return cluster.count
    moment = cluster.last_seen if key == "last" else cluster.first_seen
    return None if moment is None else moment.timestamp()


def _any(term: Term, key: Key, values: Iterable[str]) -> bool:
    patterns = [_pattern(value.casefold(), key.kind, key.name) for value in term.values]
    return any(pattern.search(value.casefold()) for value in values for pattern in patterns)


def _is_part(wanted: str, value: str) -> bool:
    return _pattern(wanted.casefold(), Kind.PART, "").search(value.casefold()) is not None


@lru_cache(maxsize=256)
def _pattern(wanted: str, kind: Kind, key: str) -> re.Pattern[str]:
    # Not fnmatch: it takes brackets for classes, and paths and PHP's own titles are full of them.
    body = ".*".join(re.escape(piece) for piece in wanted.split("*"))
    if kind is Kind.PART:
        return re.compile(body, re.DOTALL)
    if key == "ext" and "@" not in wanted:
        body += "(@.*)?"
    elif key == "opt" and "=" not in wanted:
        body += "(=.*)?"
    elif key == "phpfn":
        body = rf"(.*\\)?{body}"  # a class may be named without its namespace
    end = r"([.\-+~].*)?" if kind is Kind.VERSION else ""
    return re.compile(rf"\A{body}{end}\Z", re.DOTALL)


_URGENT = (Flag.REGRESSED, Flag.AWAKE, Flag.SPIKING)
_STATES = (State.NEW, State.KNOWN, State.FIXED, State.IGNORED)


def ordered(clusters: Iterable[Cluster], sort: str) -> list[Cluster]:
    """The clusters in the order a query asks for, those of unknown time last; alike ones as they come."""
    return sorted(clusters, key=_ORDERS[sort]) if sort in _ORDERS else list(clusters)


def _urgency(cluster: Cluster) -> int:
    found = [_URGENT.index(flag) for flag in cluster.flags if flag in _URGENT]
    return min(found) if found else len(_URGENT) + _STATES.index(cluster.state)


_ORDERS: Mapping[str, Callable[[Cluster], Any]] = {
    "n": lambda cluster: -cluster.count,
    "first": lambda cluster: -(cluster.first_seen.timestamp() if cluster.first_seen else 0.0),
    "hosts": lambda cluster: -len(cluster.hosts),
    "state": _urgency,
    "title": lambda cluster: cluster.title.casefold(),
}
