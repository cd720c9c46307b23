"""Which cluster a crash belongs to: one of its exact keys is known, or it is like crashes that are, or it is new.

A cluster's id is given once and never moves. A later crash can only add keys to a cluster; where it
turns out to link two, by an exact key or by being like both, the younger one is redirected to the older.

Which crashes end up together hardly depends on the order they come in: two are one where a chain of
crashes leads from the one to the other, each like the next. So every new kind of crash is compared with those
before it, even where its key is known, and what stands for a cluster is chosen by content, not by arrival.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from triage.cluster.profile import Profile, dump, tokens
from triage.cluster.rarity import rarity
from triage.cluster.similarity import Weights, compare, weights
from triage.model import Signature

EXACT, SIMILAR, NEW = "exact", "similar", "new"
MOST_EXEMPLARS = 24
_CLUSTERS = 8
_OF_ONE = 2
_WORDS = 10
_LATER = 0.8
CROWD = 120
"""A word that more exemplars share than this finds nothing: it is left out."""


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

    def candidates(self, words: Sequence[str], clusters: int, each: int) -> Sequence[Exemplar]:
        """The exemplars that share most of these words: at most `each` of one cluster, of so many clusters."""

    def is_known(self, cluster: str, key: str, profile: Profile) -> bool:
        """Whether the cluster has this crash as an exemplar, or has as many as it may."""

    def are_apart(self, one: str, other: str) -> bool:
        """Whether a person said that the two are not the same."""

    def create(self, signature: Signature) -> str:
        """A new cluster's id."""

    def learn(self, cluster: str, keys: Sequence[str], profile: Profile, words: Sequence[str]) -> None:
        """Let the cluster own the keys; keep the profile as an exemplar while there are few. No words: keys only."""

    def redirect(self, cluster: str, into: str, why: str) -> None:
        """All that is in `cluster`, or comes to it, is in `into` from now on."""


def exemplar_id(key: str, profile: Profile) -> str:
    """The digest of its key, and one of its looks: as by lot, so that the smallest are a fair choice."""
    return f"{_digest(key)}.{_digest(dump(profile))[:16]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def likeliest(shared: Mapping[str, Sequence[int]], most: int) -> dict[str, Sequence[int]]:
    """Of the exemplars with the places in the list of words that each shares, those that share most, in order.

    The first words tell most; ties are broken by lot.
    """
    worth = {exemplar: sum(_LATER**at for at in places) for exemplar, places in shared.items()}
    return {one: shared[one] for one in heapq.nsmallest(most, worth, key=lambda one: (-worth[one], one))}


def choose(shared: Iterable[str], owners: Mapping[str, str], clusters: int, each: int) -> list[tuple[str, str]]:
    """The `(cluster, exemplar)` to compare, of exemplars in the order of `likeliest`.

    At most `each` of one cluster, and of so many clusters: a large one does not hide the others.
    """
    taken: dict[str, list[tuple[str, str]]] = {}
    for exemplar in shared:
        cluster = owners[exemplar]
        if cluster not in taken and len(taken) == clusters:
            continue
        own = taken.setdefault(cluster, [])
        if len(own) < each:
            own.append((cluster, exemplar))
    return [one for own in taken.values() for one in own]


def words_of(profile: Profile) -> list[str]:
    """The rarest words of a crash, those near the place of death first: what an index keeps and looks for."""
    unique = dict.fromkeys(tokens(profile))
    return sorted(unique, key=lambda word: -rarity(word.partition(":")[2]))[:_WORDS]


def place(signature: Signature, profile: Profile, book: Book, given: Weights | None = None) -> Placement:
    """Find or make the crash's cluster, and let it learn from the crash."""
    given = given or weights()
    keys = (signature.key, *signature.aliases)
    known = book.owners(keys)
    into = _join(signature, book, known) if known else None
    fresh = [key for key in keys if key not in known]
    words = words_of(profile)
    if into is not None and (not words or book.is_known(into, signature.key, profile)):
        if fresh:
            book.learn(into, fresh, profile, ())
        return Placement(into, EXACT)
    found = nearest(profile, book.candidates(words, _CLUSTERS, _OF_ONE), given) if words else []
    alike = [near for near in found if near.is_same and near.cluster != into]
    rule, score = (EXACT, None) if into is not None else (SIMILAR, alike[0].score) if alike else (NEW, None)
    into = _link(into, alike, book) or book.create(signature)
    book.learn(into, keys, profile, words)
    if rule != NEW or not found:
        return Placement(into, rule, score)
    return Placement(into, NEW, None, found[0].cluster, found[0].score)


def _join(signature: Signature, book: Book, known: Mapping[str, str]) -> str:
    """The cluster of a crash some of whose keys are known."""
    roots = list(dict.fromkeys(known.values()))
    into, *others = roots if len(roots) == 1 else book.oldest(roots)
    for other in others:
        if not book.are_apart(into, other):
            book.redirect(other, into, f"crashes of both have the key {signature.key}")
    return into


def _link(into: str | None, alike: Iterable[Near], book: Book) -> str | None:
    """The crash's cluster: all that it is like become one, whichever of them came first."""
    for near in alike:
        if into is None:
            into = near.cluster
        elif near.cluster != into and not book.are_apart(into, near.cluster):
            into, young = book.oldest((into, near.cluster))
            book.redirect(young, into, f"a crash of the one is like crashes of the other ({near.score:.2f})")
    return into


@dataclass(frozen=True, slots=True)
class Near:
    """A cluster and how near it is: the best score of its exemplars."""

    cluster: str
    score: float
    is_same: bool


def nearest(profile: Profile, candidates: Iterable[Exemplar], given: Weights) -> list[Near]:
    """The candidates' clusters, the nearest first.

    A cluster's exemplars may look unlike each other, as with symbols and without: those that share
    enough to be compared speak for it.
    """
    scores: defaultdict[str, list[tuple[bool, float]]] = defaultdict(list)
    for candidate in candidates:
        found = compare(profile, candidate.profile, given)
        scores[candidate.cluster].append((found.matched >= given.evidence, found.score))
    best = [(cluster, *max(values)) for cluster, values in scores.items()]
    near = [Near(cluster, score, enough and score >= given.join) for cluster, enough, score in best]
    return sorted(near, key=lambda found: (-found.score, found.cluster))
