"""The book of clusters in memory, for measuring without a database."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from triage.cluster.assign import MOST_EXEMPLARS, Exemplar
from triage.cluster.profile import Profile
from triage.model import Signature

_CROWD = 400  # a word that so many exemplars share finds nothing


class MemoryBook:
    """Keys, exemplars and redirects in dictionaries."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.into: dict[str, str] = {}
        self.age: dict[str, int] = {}
        self.kept: list[Exemplar] = []
        self.counts: Counter[str] = Counter()
        self.index: defaultdict[str, list[int]] = defaultdict(list)

    def root(self, cluster: str) -> str:
        """Where a cluster is now."""
        while cluster in self.into:
            cluster = self.into[cluster]
        return cluster

    def owners(self, keys: Sequence[str]) -> Mapping[str, str]:
        return {key: self.root(self.keys[key]) for key in keys if key in self.keys}

    def oldest(self, clusters: Iterable[str]) -> Sequence[str]:
        return sorted(clusters, key=lambda cluster: self.age[cluster])

    def candidates(self, words: Sequence[str], most: int) -> Sequence[Exemplar]:
        shared: Counter[int] = Counter()
        for word in words:
            postings = self.index.get(word, ())
            if len(postings) <= _CROWD:
                shared.update(postings)
        best = sorted(shared.items(), key=lambda item: (-item[1], item[0]))[:most]
        return [Exemplar(self.root(self.kept[at].cluster), self.kept[at].profile) for at, _ in best]

    def are_apart(self, one: str, other: str) -> bool:
        return False

    def create(self, signature: Signature) -> str:
        cluster = f"C{len(self.age)}"
        self.age[cluster] = len(self.age)
        return cluster

    def learn(self, cluster: str, keys: Sequence[str], profile: Profile, words: Sequence[str]) -> None:
        for key in keys:
            self.keys.setdefault(key, cluster)
        if words and self.counts[cluster] < MOST_EXEMPLARS:
            self.counts[cluster] += 1
            self.kept.append(Exemplar(cluster, profile))
            for word in words:
                self.index[word].append(len(self.kept) - 1)

    def redirect(self, cluster: str, into: str, why: str) -> None:
        self.into[cluster] = into
