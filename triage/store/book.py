"""The clusters as `cluster.assign` asks of them, within one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

from sqlalchemy import Connection, func, insert, literal_column, select, union_all, update

from triage.cluster.assign import MOST_EXEMPLARS, Exemplar
from triage.cluster.profile import Profile, dump, load
from triage.model import Signature, State
from triage.store import regroupings
from triage.store.columns import digest
from triage.store.names import root
from triage.store.recent import Recent
from triage.store.tables import apart, clusters, crashes, exemplars, keys, words
from triage.store.upsert import insert_missing

_ID_DIGITS = 6
_CALLED_FROM, _SEVERAL = " ◂ ", "several callers"
_CROWD = 400  # a word that more exemplars share than this finds nothing: it is left out
_WORD_DIGITS = 16


class SqlBook:
    """The book of clusters in a database. `Book` of `cluster.assign`."""

    def __init__(self, connection: Connection, recent: Recent | None = None) -> None:
        self._connection = connection
        self._recent = recent or Recent()

    def owners(self, signatures: Sequence[str]) -> Mapping[str, str]:
        known = self._recent.roots
        if not all(key in known for key in signatures):
            known.update(self._owners(signatures))
        return {key: known[key] for key in signatures if key in known}

    def _owners(self, signatures: Sequence[str]) -> Mapping[str, str]:
        of = {digest(key): key for key in signatures}
        rows = self._connection.execute(select(keys.c.digest, keys.c.cluster).where(keys.c.digest.in_(list(of))))
        found = {of[row.digest]: row.cluster for row in rows}
        roots = {cluster: self.root(cluster) for cluster in set(found.values())}
        return {key: roots[found[key]] for key in signatures if key in found}

    def oldest(self, found: Iterable[str]) -> Sequence[str]:
        return sorted(found, key=self._age)

    def root(self, cluster: str) -> str:
        """Where a cluster is now: itself, unless it was merged into another."""
        return root(self._connection, cluster)

    def candidates(self, told: Sequence[str], most: int) -> Sequence[Exemplar]:
        shared = self._sharing(told)
        best = sorted(shared.items(), key=lambda item: (-item[1], item[0]))[:most]
        rows = self._connection.execute(
            select(exemplars.c.id, exemplars.c.cluster, exemplars.c.profile).where(
                exemplars.c.id.in_([id_ for id_, _ in best])
            )
        ).all()
        return [Exemplar(self.root(row.cluster), load(row.profile)) for row in sorted(rows, key=lambda row: row.id)]

    def _sharing(self, told: Sequence[str]) -> Counter[str]:
        """How many of the words each exemplar has; crowded words left out."""
        if not told:
            return Counter()
        parts = []
        for at, word in enumerate(told):
            one = select(literal_column(str(at)).label("at"), words.c.exemplar)
            one = one.where(words.c.word == word_digest(word))
            parts.append(select(one.limit(_CROWD + 1).subquery()))
        rows = self._connection.execute(union_all(*parts)).all()
        crowded = {at for at, count in Counter(row.at for row in rows).items() if count > _CROWD}
        return Counter(row.exemplar for row in rows if row.at not in crowded)

    def are_apart(self, one: str, other: str) -> bool:
        first, second = sorted((one, other))
        asked = select(apart.c.one).where(apart.c.one == first, apart.c.other == second)
        return self._connection.scalar(asked) is not None

    def create(self, signature: Signature) -> str:
        self._recent.forget()
        key = digest(signature.key)
        known = self._connection.scalar(select(clusters.c.id).where(clusters.c.digest == key))
        if known is not None:  # its keys were given to another cluster by hand
            key = digest(f"{signature.key}\0{self._count()}")
        row = {
            "id": free_id(self._connection, key),
            "digest": key,
            "signature": signature.key,
            "title": signature.title,
            "state": State.NEW.value,
        }
        self._connection.execute(insert(clusters).values(row))
        return str(row["id"])

    def learn(self, cluster: str, signatures: Sequence[str], profile: Profile, told: Sequence[str]) -> None:
        self._recent.forget()
        rows = [{"digest": digest(key), "key": key, "cluster": cluster} for key in dict.fromkeys(signatures)]
        insert_missing(self._connection, keys, rows)
        if not told or self._exemplars(cluster) >= MOST_EXEMPLARS:
            return
        id_ = rows[0]["digest"]
        insert_missing(self._connection, exemplars, [{"id": id_, "cluster": cluster, "profile": dump(profile)}])
        insert_missing(
            self._connection, words, [{"word": word, "exemplar": id_} for word in {word_digest(w) for w in told}]
        )

    def redirect(self, cluster: str, into: str, why: str) -> None:
        self._recent.forget()
        regroupings.merge(self._connection, cluster, into, by="triage", why=why)

    def _exemplars(self, cluster: str) -> int:
        asked = select(func.count()).select_from(exemplars).where(exemplars.c.cluster == cluster)
        return int(self._connection.scalar(asked) or 0)

    def _count(self) -> int:
        return int(self._connection.scalar(select(func.count()).select_from(clusters)) or 0)

    def _age(self, cluster: str) -> tuple[bool, int, str]:
        first = self._connection.scalar(select(func.min(crashes.c.time)).where(crashes.c.cluster == cluster))
        return (first is None, 0 if first is None else int(first.timestamp() * 1e6), cluster)


def retitle(connection: Connection, cluster: str, title: str) -> bool:
    """Let the cluster's title be true of one more crash; returns whether it changed."""
    known: str = connection.execute(select(clusters.c.title).where(clusters.c.id == cluster)).scalar_one()
    shared = shared_title(known, title)
    if shared != known:
        connection.execute(update(clusters).where(clusters.c.id == cluster).values(title=shared))
    return shared != known


def shared_title(known: str, new: str) -> str:
    """A title that is true of the crashes so far and of one more.

    A title reads `where it died ◂ called from`; the same key may be reached by several callers.
    Titles with nothing in common are a later triage's better words for the same key.
    """
    if known == new:
        return known
    one, other = known.split(_CALLED_FROM), new.split(_CALLED_FROM)
    alike = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]
    return _CALLED_FROM.join([*alike, _SEVERAL]) if alike else new


def free_id(connection: Connection, key: str) -> str:
    """A cluster id that begins as `key` does and is not taken."""
    for length in range(_ID_DIGITS, len(key) + 1):
        candidate = f"C-{key[:length]}"
        if connection.scalar(select(clusters.c.id).where(clusters.c.id == candidate)) is None:
            return candidate
    raise AssertionError("two signatures with one SHA-256")


def word_digest(word: str) -> str:
    """A word as the index keeps it."""
    return digest(word)[:_WORD_DIGITS]
