"""A cluster's crashes held against other processes: what goes with it, how strongly, what cannot be told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp

from triage.insight.correlate.attributes import Attribute, Masks, Unit, masks
from triage.insight.correlate.evidence import Evidence
from triage.insight.correlate.search import Extent, Search, Side, groups
from triage.insight.statistics import adjusted, difference, fisher, log_add

FEWEST = 5
_SURE = 0.05
_ODDS = 3.0
"""Log of how much better a candidate must be than chance before it is said: 20 to 1."""
_SHOWN = 12
_OF_SIZE = 6
"""Kept of each number of conditions, however far down: whether the best of them stands alone is asked."""

Rule = tuple[frozenset[Attribute], ...]
"""All of these, each as a set of attributes that are always there together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A set of conditions that goes with the crashes.

    `alternatives` are rules which select the very same crashes and workers. `hits` of `cases` crashes have it, and
    `workers` of `all_workers` healthy ones; `p` is Fisher's for distinct configurations, `q` corrected for all that
    was tried; `gap` the difference of the two shares with its 95 % interval. `belief` is its share of the posterior
    among all candidates and "none".
    """

    alternatives: tuple[Rule, ...]
    masks: Masks
    hits: int
    cases: int
    workers: int
    all_workers: int
    p: float
    q: float
    gap: tuple[float, float, float]
    belief: float

    @property
    def size(self) -> int:
        """How many conditions it has."""
        return len(self.alternatives[0])

    def holds(self, rule: frozenset[Attribute]) -> bool:
        """Whether `rule` is one of its alternatives."""
        return any(len(one) == len(rule) and _covers(one, rule) for one in self.alternatives)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was found. `said` are the candidates the data carry, `ranked` all the best, whether carried or not;
    `explained` are attributes that only go along with the first of `said`.

    `shared` is what all crashes have and not all controls; `reason` says why nothing is said.
    """

    cases: int
    controls: int
    said: tuple[Candidate, ...] = ()
    ranked: tuple[Candidate, ...] = ()
    shared: tuple[Attribute, ...] = ()
    tried: int = 0
    reason: str | None = None
    explained: tuple[frozenset[Attribute], ...] = field(default=())


def _covers(rule: Rule, wanted: frozenset[Attribute]) -> bool:
    """Whether each wanted attribute belongs to a condition of its own."""
    left = list(rule)
    for attribute in wanted:
        found = next((part for part in left if attribute in part), None)
        if found is None:
            return False
        left.remove(found)
    return not left


def compare(cases: Sequence[Unit], controls: Sequence[Unit]) -> Comparison:
    """Compare crashes with healthy configurations (or with other crashes). Deterministic."""
    known = masks(cases, controls)
    everyone, side = (1 << len(controls)) - 1, Side(tuple(unit.weight for unit in controls))
    shared = _shared(known, len(cases), everyone)
    if len(cases) < FEWEST:
        return Comparison(cases=len(cases), controls=len(controls), shared=shared, reason="too few crashes")
    varying = {name: found for name, found in known.items() if found.controls != everyone}
    grouped = groups(varying, len(cases))
    if not grouped or not controls:
        reason = "nothing stands out" if varying and controls else "nothing differs"
        return Comparison(cases=len(cases), controls=len(controls), shared=shared, reason=reason)
    lumps = Counter(unit.configuration for unit in cases)
    spread = len({unit.configuration for unit in (*cases, *controls)})
    names = list(grouped.values())
    search = Search(
        [(found, len(own)) for found, own in grouped.items()], Evidence(list(lumps.values()), spread), side,
        len(cases), len(varying),
    )  # fmt: skip
    extents = search.run()
    ranked = _candidates(extents, names, cases, controls, side)
    said = _said(ranked, extents)
    return Comparison(
        cases=len(cases), controls=len(controls), shared=shared, tried=len(extents), ranked=ranked, said=said,
        explained=tuple(_explained(said[0], grouped, controls)) if said else (),
        reason=None if said else "nothing stands out",
    )  # fmt: skip


def _explained(
    first: Candidate, grouped: dict[Masks, list[Attribute]], controls: Sequence[Unit]
) -> Iterator[frozenset[Attribute]]:
    """Attributes that stand out by themselves, but no longer among those who have the first candidate."""
    own = {attribute for rule in first.alternatives for part in rule for attribute in part}
    inside, outside = first.masks.cases.bit_count(), first.masks.controls.bit_count()
    for found, names in grouped.items():
        if own & set(names):
            continue
        alone = fisher(found.cases.bit_count(), first.cases, found.controls.bit_count(), len(controls))
        within = fisher((found.cases & first.masks.cases).bit_count(), inside,
                        (found.controls & first.masks.controls).bit_count(), outside)  # fmt: skip
        if alone <= _SURE / max(1, len(grouped)) and within > _SURE:
            yield frozenset(names)


def _shared(known: dict[Attribute, Masks], cases: int, everyone: int) -> tuple[Attribute, ...]:
    whole = (1 << cases) - 1
    return tuple(sorted(name for name, found in known.items() if found.cases == whole and found.controls != everyone))


def _said(ranked: Sequence[Candidate], extents: Sequence[Extent]) -> tuple[Candidate, ...]:
    """The candidates the data carry: all of them together beat chance clearly, and each one's own test does."""
    if log_add([extent.weight for extent in extents]) < _ODDS:
        return ()
    return tuple(one for one in ranked if one.q <= _SURE and one.belief >= 0.01 and one.gap[1] > 0)


def _candidates(
    extents: Sequence[Extent],
    names: list[list[Attribute]],
    cases: Sequence[Unit],
    controls: Sequence[Unit],
    side: Side,
) -> tuple[Candidate, ...]:
    configurations = _Configurations(cases, controls)
    values = [configurations.p(extent.masks) for extent in extents]
    corrected = _by_size(extents, values)
    whole = log_add([0.0, *(extent.weight for extent in extents)])
    found = []
    for at in _kept(extents):
        extent, p, q = extents[at], values[at], corrected[at]
        hits, workers = extent.masks.cases.bit_count(), side.count(extent.masks.controls)
        found.append(
            Candidate(
                alternatives=tuple(tuple(frozenset(names[at]) for at in rule) for rule in extent.rules),
                masks=extent.masks,
                hits=hits,
                cases=len(cases),
                workers=workers,
                all_workers=side.total,
                p=p,
                q=q,
                gap=difference(hits, len(cases), workers, max(1, side.total)),
                belief=exp(extent.weight - whole),
            )
        )
    return tuple(found)


def _kept(extents: Sequence[Extent]) -> list[int]:
    """The places of the best in the ranking, and of the best of each size."""
    kept = set(range(min(_SHOWN, len(extents))))
    for size in (1, 2, 3):
        kept.update([at for at, extent in enumerate(extents) if len(extent.rules[0]) == size][:_OF_SIZE])
    return sorted(kept)


def _by_size(extents: Sequence[Extent], values: Sequence[float]) -> list[float]:
    """q of each p, single conditions, pairs and triples each corrected among themselves."""
    found = [1.0] * len(values)
    for size in (1, 2, 3):
        own = [at for at, extent in enumerate(extents) if len(extent.rules[0]) == size]
        for at, q in zip(own, adjusted([values[at] for at in own]), strict=True):
            found[at] = q
    return found


class _Configurations:
    """Fisher's test with each distinct configuration of the healthy side counted once."""

    def __init__(self, cases: Sequence[Unit], controls: Sequence[Unit]) -> None:
        self._cases = len(cases)
        self._first: dict[str, int] = {}
        for at, unit in enumerate(controls):
            self._first.setdefault(unit.configuration, at)
        self._mask = sum(1 << at for at in self._first.values())

    def p(self, found: Masks) -> float:
        """The one-sided p of these masks."""
        others = (found.controls & self._mask).bit_count()
        return fisher(found.cases.bit_count(), self._cases, others, len(self._first))
