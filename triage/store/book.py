"""The clusters as `cluster.assign` asks of them, within one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from triage.cluster.assign import CROWD, MOST_EXEMPLARS, Exemplar, choose, exemplar_id, likeliest
from triage.cluster.profile import Profile, dump, load
from triage.model import Signature, State
from triage.store import regroupings
from triage.store.columns import digest
from triage.store.names import root
from triage.store.recent import Recent
from triage.store.tables import apart, clusters, crashes, exemplars, keys, redirects, words
from triage.store.upsert import insert_missing

_ID_DIGITS = 6
_CALLED_FROM, _SEVERAL = " ◂ ", "several callers"
_WORD_DIGITS = 16
_LOOKED_AT = 32  # exemplars whose cluster is looked up, of all that share a word

# Making a statement takes longer than carrying it out: these are made once.
_OWNERS = select(keys.c.digest, keys.c.cluster).where(keys.c.digest.in_(bindparam("digests", expanding=True)))
_PROFILES = select(exemplars.c.id, exemplars.c.profile).where(exemplars.c.id.in_(bindparam("ids", expanding=True)))
_HOMES = (
    select(exemplars.c.id, exemplars.c.cluster, redirects.c.target)
    .outerjoin(redirects, redirects.c.cluster == exemplars.c.cluster)
    .where(exemplars.c.id.in_(bindparam("ids", expanding=True)))
)
_KEPT = select(exemplars.c.id).where(exemplars.c.id == bindparam("exemplar"))
_OWN = select(func.count(), func.max(exemplars.c.id)).where(exemplars.c.cluster == bindparam("of"))
_FIRST = select(func.min(crashes.c.time)).where(crashes.c.cluster == bindparam("of"))
_APART = select(apart.c.one).where(apart.c.one == bindparam("first"), apart.c.other == bindparam("second"))

_HAVING = select(words.c.exemplar).where(words.c.word == bindparam("word")).limit(CROWD + 1)


class SqlBook:
    """The book of clusters in a database. `Book` of `cluster.assign`."""

    def __init__(self, connection: Connection, recent: Recent | None = None) -> None:
        self._connection = connection
        self._recent = recent or Recent()

    def owners(self, signatures: Sequence[str]) -> Mapping[str, str]:
        known = self._recent.roots
        if not all(key in known for key in signatures):
            known.update(self._of_keys(signatures))
        return {key: known[key] for key in signatures if key in known}

    def _of_keys(self, signatures: Sequence[str]) -> Mapping[str, str]:
        of = {digest(key): key for key in signatures}
        rows = self._connection.execute(_OWNERS, {"digests": list(of)})
        found = {of[row.digest]: row.cluster for row in rows}
        roots = {cluster: self.root(cluster) for cluster in set(found.values())}
        return {key: roots[found[key]] for key in signatures if key in found}

    def oldest(self, found: Iterable[str]) -> Sequence[str]:
        return sorted(found, key=self._age)

    def root(self, cluster: str) -> str:
        """Where a cluster is now: itself, unless it was merged into another."""
        return root(self._connection, cluster)

    def candidates(self, told: Sequence[str], clusters: int, each: int) -> Sequence[Exemplar]:
        shared = likeliest(self._sharing(told), _LOOKED_AT)
        owners = self._owners(shared)
        chosen = choose([id_ for id_ in shared if id_ in owners], owners, clusters, each)
        rows = self._connection.execute(_PROFILES, {"ids": [id_ for _, id_ in chosen]})
        profiles = {row.id: row.profile for row in rows}
        return [Exemplar(cluster, load(profiles[id_])) for cluster, id_ in chosen]

    def _sharing(self, told: Sequence[str]) -> dict[str, list[int]]:
        """Which of the words each exemplar has, by their places; crowded words left out."""
        shared: defaultdict[str, list[int]] = defaultdict(list)
        for at, word in enumerate(told):
            found = self._connection.scalars(_HAVING, {"word": word_digest(word)}).all()
            for id_ in found if len(found) <= CROWD else ():
                shared[id_].append(at)
        return shared

    def _owners(self, ids: Iterable[str]) -> dict[str, str]:
        """The cluster of each exemplar, redirects followed."""
        rows = self._connection.execute(_HOMES, {"ids": list(ids)}).all()
        roots = {target: self.root(target) for target in {row.target for row in rows if row.target is not None}}
        return {row.id: roots.get(row.target, row.cluster) for row in rows}

    def is_known(self, cluster: str, key: str, profile: Profile) -> bool:
        id_ = exemplar_id(key, profile)
        if (cluster, id_) not in self._recent.looks:
            if not self._is_kept(id_) and _has_room(*self._own(cluster), id_):
                return False
            self._recent.looks.add((cluster, id_))
        return True

    def _is_kept(self, id_: str) -> bool:
        return self._connection.scalar(_KEPT, {"exemplar": id_}) is not None

    def _own(self, cluster: str) -> tuple[int, str | None]:
        count, largest = self._connection.execute(_OWN, {"of": cluster}).one()
        return int(count), largest

    def are_apart(self, one: str, other: str) -> bool:
        first, second = sorted((one, other))
        return self._connection.scalar(_APART, {"first": first, "second": second}) is not None

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
        if not told or not signatures:  # a crash split from others that have its keys too brings none along
            return
        id_ = exemplar_id(signatures[0], profile)
        count, largest = self._own(cluster)
        if not _has_room(count, largest, id_) or self._is_kept(id_):
            return
        if count >= MOST_EXEMPLARS:
            self._connection.execute(delete(words).where(words.c.exemplar == largest))
            self._connection.execute(delete(exemplars).where(exemplars.c.id == largest))
        self._connection.execute(insert(exemplars).values(id=id_, cluster=cluster, profile=dump(profile)))
        rows = [{"word": word, "exemplar": id_} for word in {word_digest(w) for w in told}]
        insert_missing(self._connection, words, rows)

    def redirect(self, cluster: str, into: str, why: str) -> None:
        self._recent.forget()
        regroupings.merge(self._connection, cluster, into, by="triage", why=why)

    def _count(self) -> int:
        return int(self._connection.scalar(select(func.count()).select_from(clusters)) or 0)

    def _age(self, cluster: str) -> tuple[bool, int, str]:
        first = self._connection.scalar(_FIRST, {"of": cluster})
        return (first is None, 0 if first is None else int(first.timestamp() * 1e6), cluster)


def _has_room(count: int, largest: str | None, id_: str) -> bool:
    """Whether a cluster of so many exemplars has fewer than it may, or one whose lot is larger."""
    return count < MOST_EXEMPLARS or id_ < (largest or "")


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
