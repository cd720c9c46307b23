"""The book of clusters in memory, for measuring without a database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from triage.cluster.assign import CROWD, MOST_EXEMPLARS, Exemplar, choose, exemplar_id, likeliest
from triage.cluster.profile import Profile
from triage.model import Signature

_LOOKED_AT = 32


class MemoryBook:
    """Keys, exemplars and redirects in dictionaries."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.into: dict[str, str] = {}
        self.age: dict[str, int] = {}
        self.kept: dict[str, Exemplar] = {}
        self.words: dict[str, Sequence[str]] = {}
        self.of: defaultdict[str, set[str]] = defaultdict(set)
        self.index: defaultdict[str, set[str]] = defaultdict(set)

    def root(self, cluster: str) -> str:
        """Where a cluster is now."""
        while cluster in self.into:
            cluster = self.into[cluster]
        return cluster

    def owners(self, keys: Sequence[str]) -> Mapping[str, str]:
        return {key: self.root(self.keys[key]) for key in keys if key in self.keys}

    def oldest(self, clusters: Iterable[str]) -> Sequence[str]:
        return sorted(clusters, key=lambda cluster: self.age[cluster])

    def candidates(self, words: Sequence[str], clusters: int, each: int) -> Sequence[Exemplar]:
        shared: defaultdict[str, list[int]] = defaultdict(list)
        for at, word in enumerate(words):
            postings = self.index.get(word, ())
            for id_ in postings if len(postings) <= CROWD else ():
                shared[id_].append(at)
        best = likeliest(shared, _LOOKED_AT)
        owners = {id_: self.root(self.kept[id_].cluster) for id_ in best}
        return [Exemplar(cluster, self.kept[id_].profile) for cluster, id_ in choose(best, owners, clusters, each)]

    def is_known(self, cluster: str, key: str, profile: Profile) -> bool:
        id_ = exemplar_id(key, profile)
        return id_ in self.kept or not self._has_room(cluster, id_)

    def _has_room(self, cluster: str, id_: str) -> bool:
        own = self.of[cluster]
        return len(own) < MOST_EXEMPLARS or id_ < max(own)

    def are_apart(self, one: str, other: str) -> bool:
        return False

    def create(self, signature: Signature) -> str:
        cluster = f"C{len(self.age)}"
        self.age[cluster] = len(self.age)
        return cluster

    def learn(self, cluster: str, keys: Sequence[str], profile: Profile, words: Sequence[str]) -> None:
        for key in keys:
            self.keys.setdefault(key, cluster)
        id_ = exemplar_id(keys[0], profile)
        if not words or id_ in self.kept or not self._has_room(cluster, id_):
            return
        own = self.of[cluster]
        if len(own) >= MOST_EXEMPLARS:
            self._forget(max(own))
        own.add(id_)
        self.kept[id_] = Exemplar(cluster, profile)
        self.words[id_] = words
        for word in words:
            self.index[word].add(id_)

    def _forget(self, id_: str) -> None:
        self.of[self.kept.pop(id_).cluster].discard(id_)
        for word in self.words.pop(id_):
            self.index[word].discard(id_)

    def redirect(self, cluster: str, into: str, why: str) -> None:
        self.into[cluster] = into
