"""Which cluster a crash belongs to: one of its exact keys is known, or it is like crashes that are, or it is new.

A cluster's id is given once and never moves. A later crash can only add keys to a cluster; where it
turns out to link two by an exact key, the younger one is redirected to the older.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from triage.cluster.profile import Profile, tokens
from triage.cluster.rarity import rarity
from triage.cluster.similarity import Weights, compare, weights
from triage.model import Signature

EXACT, SIMILAR, NEW = "exact", "similar", "new"
MOST_EXEMPLARS = 12
_CANDIDATES = 16
_WORDS = 10
_KNOWN_WELL = 0.97


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A crash that stands for its cluster in comparisons."""

    cluster: str
    profile: Profile


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a crash went and why. `score` of a similar one; `rival` is the best cluster that was refused."""

    cluster: str
    rule: str
    score: float | None = None
    rival: str | None = None
    rival_score: float | None = None


class Book(Protocol):
    """What is known of the clusters so far."""

    def owners(self, keys: Sequence[str]) -> Mapping[str, str]:
        """The cluster of each of these keys that is known, redirects followed."""

    def oldest(self, clusters: Iterable[str]) -> Sequence[str]:
        """The clusters, that with the earliest crash first."""

    def candidates(self, words: Sequence[str], most: int) -> Sequence[Exemplar]:
        """The exemplars that share most of these words."""

    def are_apart(self, one: str, other: str) -> bool:
        """Whether a person said that the two are not the same."""

    def create(self, signature: Signature) -> str:
        """A new cluster's id."""

    def learn(self, cluster: str, keys: Sequence[str], profile: Profile, words: Sequence[str]) -> None:
        """Let the cluster own the keys; keep the profile as an exemplar while there are few. No words: keys only."""

    def redirect(self, cluster: str, into: str, why: str) -> None:
        """All that is in `cluster`, or comes to it, is in `into` from now on."""


def words_of(profile: Profile) -> list[str]:
    """The rarest words of a crash: what an index keeps and looks for."""
    unique = dict.fromkeys(tokens(profile))
    return sorted(unique, key=lambda word: -rarity(word.partition(":")[2]))[:_WORDS]


def known(signature: Signature, book: Book) -> Placement | None:
    """What `place` says of a crash all of whose keys lead to one cluster: for most crashes, and without a profile."""
    keys = (signature.key, *signature.aliases)
    owners = book.owners(keys)
    roots = set(owners.values())
    return Placement(roots.pop(), EXACT) if len(roots) == 1 and len(owners) == len(set(keys)) else None


def place(signature: Signature, profile: Profile, book: Book, given: Weights | None = None) -> Placement:
    """Find or make the crash's cluster, and let it learn from the crash."""
    keys = (signature.key, *signature.aliases)
    known = book.owners(keys)
    if known:
        return Placement(_join(signature, profile, book, known), EXACT)
    words = words_of(profile)
    found = nearest(profile, book.candidates(words, _CANDIDATES), given or weights()) if words else []
    joined = next((near for near in found if near.is_same), None)
    if joined is not None:
        into = _link(found, joined, book, (given or weights()).link)
        book.learn(into, keys, profile, words if joined.score < _KNOWN_WELL else ())
        return Placement(into, SIMILAR, joined.score)
    cluster = book.create(signature)
    book.learn(cluster, keys, profile, words)
    rival = found[0] if found else None
    return Placement(cluster, NEW, None, rival.cluster if rival else None, rival.score if rival else None)


def _join(signature: Signature, profile: Profile, book: Book, known: Mapping[str, str]) -> str:
    """The cluster of a crash some of whose keys are known; it learns the others."""
    roots = list(dict.fromkeys(known.values()))
    into, *others = roots if len(roots) == 1 else book.oldest(roots)
    for other in others:
        if not book.are_apart(into, other):
            book.redirect(other, into, f"crashes of both have the key {signature.key}")
    fresh = [key for key in (signature.key, *signature.aliases) if key not in known]
    if fresh:
        # Known by another key alone, it may look other than the crashes before it, as with symbols and without.
        book.learn(into, fresh, profile, () if signature.key in known else words_of(profile))
    return into


def _link(found: Iterable[Near], joined: Near, book: Book, enough: float) -> str:
    """The crash's cluster. Others it is like as well become one with it, whichever of them came first."""
    into = joined.cluster
    for other in found:
        if other.cluster == into or not other.is_same or other.score < enough or book.are_apart(into, other.cluster):
            continue
        into, young = book.oldest((into, other.cluster))
        book.redirect(young, into, f"a crash is like crashes of both ({joined.score:.2f} and {other.score:.2f})")
    return into


@dataclass(frozen=True, slots=True)
class Near:
    """A cluster and how near it is: the mean of the best exemplars' scores."""

    cluster: str
    score: float
    is_same: bool


def nearest(profile: Profile, candidates: Iterable[Exemplar], given: Weights) -> list[Near]:
    """The candidates' clusters, the nearest first.

    A cluster's exemplars may look unlike each other, as with symbols and without: those that share
    enough to be compared speak for it.
    """
    scores: defaultdict[str, list[tuple[float, bool]]] = defaultdict(list)
    for candidate in candidates:
        found = compare(profile, candidate.profile, given)
        scores[candidate.cluster].append((found.score, found.matched >= given.evidence))
    near = []
    for cluster, values in scores.items():
        telling = [value for value, enough in values if enough]
        best = sorted(telling or [value for value, _ in values], reverse=True)[: given.nearest]
        score = sum(best) / len(best)
        near.append(Near(cluster, score, bool(telling) and score >= given.join))
    return sorted(near, key=lambda found: (-found.score, found.cluster))
