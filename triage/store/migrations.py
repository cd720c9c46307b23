"""From an empty database, or an older schema, to the current one. Only ever forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, insert, inspect, select, text, update

from triage.errors import EnvironmentLacks, UsageError
from triage.store import backfill
from triage.store.backfill import Say
from triage.store.tables import changes, known_bugs, meta, metadata, snapshots

VERSION = 8
"""The schema that `tables.py` describes."""

_DECISIONS = (
    """CREATE TABLE triage_decisions (
        id NUMBER NOT NULL PRIMARY KEY, cluster TEXT NOT NULL REFERENCES triage_clusters (id), "at" BIGINT NOT NULL,
        "by" TEXT, state TEXT NOT NULL, note TEXT, bug TEXT, "until" TEXT, fixed_in TEXT, since BIGINT, began BIGINT,
        undone BIGINT, undone_by TEXT)""",
    "CREATE INDEX triage_decisions_of_cluster ON triage_decisions (cluster, id)",
    "ALTER TABLE triage_clusters ADD COLUMN decision INTEGER",
    """CREATE TABLE triage_facts (
        "key" TEXT NOT NULL, cluster TEXT NOT NULL REFERENCES triage_clusters (id), value TEXT NOT NULL,
        PRIMARY KEY ("key", cluster, value))""",
    "CREATE INDEX triage_facts_of_cluster ON triage_facts (cluster)",
    "CREATE INDEX triage_crashes_rollouts ON triage_crashes (runtime, host, time)",
    "CREATE INDEX triage_crashes_statuses ON triage_crashes (cluster, status)",
)


def _decisions_and_facts(connection: Connection, say: Say) -> None:
    """2: what persons decided with its history, and what the crashes of a cluster can be asked for."""
    number = "SERIAL" if connection.dialect.name == "postgresql" else "INTEGER"
    for statement in _DECISIONS:
        connection.exec_driver_sql(statement.replace("NUMBER", number))
    backfill.decisions(connection)
    backfill.facts(connection, say)


def _surroundings(connection: Connection, _say: Say) -> None:
    """5: snapshots of healthy workers, changes, bugs on file."""
    for table in (snapshots, changes, known_bugs):
        table.create(connection, checkfirst=True)


def _learn_keys(connection: Connection, _say: Say) -> None:
    """Schema 3: clusters own any number of keys, and stand for themselves in comparisons.

    The tables are spelled out: what `tables.py` says of them may change later.
    """
    for statement in _SCHEMA_3:
        connection.execute(text(statement))


_SCHEMA_3 = (
    "CREATE TABLE triage_keys (digest TEXT NOT NULL PRIMARY KEY, key TEXT NOT NULL, "
    "cluster TEXT NOT NULL REFERENCES triage_clusters (id))",
    "CREATE INDEX triage_keys_of_cluster ON triage_keys (cluster)",
    "INSERT INTO triage_keys (digest, key, cluster) SELECT digest, signature, id FROM triage_clusters",
    "CREATE TABLE triage_exemplars (id TEXT NOT NULL PRIMARY KEY, "
    "cluster TEXT NOT NULL REFERENCES triage_clusters (id), profile TEXT NOT NULL)",
    "CREATE INDEX triage_exemplars_of_cluster ON triage_exemplars (cluster)",
    "CREATE TABLE triage_words (word TEXT NOT NULL, exemplar TEXT NOT NULL REFERENCES triage_exemplars (id), "
    "PRIMARY KEY (word, exemplar))",
    "CREATE TABLE triage_redirects (cluster TEXT NOT NULL PRIMARY KEY REFERENCES triage_clusters (id), "
    "target TEXT NOT NULL REFERENCES triage_clusters (id), change BIGINT NOT NULL)",
    "CREATE TABLE triage_regroupings (number BIGINT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, cluster TEXT NOT NULL, "
    'target TEXT NOT NULL, "by" TEXT NOT NULL, why TEXT, time BIGINT, undone BIGINT)',
    "CREATE TABLE triage_moves (change BIGINT NOT NULL, crash TEXT NOT NULL, origin TEXT NOT NULL, "
    "PRIMARY KEY (change, crash))",
    "CREATE TABLE triage_apart (one TEXT NOT NULL, other TEXT NOT NULL, PRIMARY KEY (one, other))",
    "CREATE TABLE triage_pins (crash TEXT NOT NULL PRIMARY KEY, cluster TEXT NOT NULL)",
    "CREATE TABLE triage_victims (crash TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL, incident TEXT NOT NULL)",
    "CREATE INDEX triage_victims_of_incident ON triage_victims (digest)",
)

_ARRIVALS = (
    """CREATE TABLE triage_arrivals (
        "key" TEXT NOT NULL PRIMARY KEY, "at" BIGINT NOT NULL)""",
    'CREATE INDEX triage_arrivals_newest ON triage_arrivals ("at")',
    # Crashes of an earlier triage: known long since, so that no report takes them for news.
    """INSERT INTO triage_arrivals ("key", "at") SELECT 'crash:' || id, 0 FROM triage_crashes""",
    """CREATE TABLE triage_reports (
        name TEXT NOT NULL PRIMARY KEY, covered BIGINT NOT NULL, spoke BIGINT)""",
)


def _arrivals_and_reports(connection: Connection, _say: Say) -> None:
    """4: when each crash and each failure first came in, and up to when reports have told."""
    for statement in _ARRIVALS:
        connection.exec_driver_sql(statement)


_PLACES = (
    "CREATE INDEX IF NOT EXISTS triage_crashes_places ON triage_crashes (cluster, runtime, host, time)",
    "DROP INDEX IF EXISTS triage_crashes_runtimes",  # the new one answers what these two did
    "DROP INDEX IF EXISTS triage_crashes_hosts",
    "DROP INDEX IF EXISTS triage_crashes_newest",
    "CREATE INDEX triage_crashes_newest ON triage_crashes (time DESC, id, cluster)",
)


def _places(connection: Connection, _say: Say) -> None:
    """7: where, in what and how often each cluster crashed of late is read from indexes."""
    for statement in _PLACES:
        connection.exec_driver_sql(statement)


def _words_of_exemplars(connection: Connection, _say: Say) -> None:
    """8: an exemplar's words are found without going through all words."""
    connection.exec_driver_sql("CREATE INDEX IF NOT EXISTS triage_words_of_exemplar ON triage_words (exemplar)")


STEPS: Mapping[int, Callable[[Connection, Say], None]] = {
    2: _decisions_and_facts,
    3: _learn_keys,
    4: _arrivals_and_reports,
    5: _surroundings,
    7: _places,
    8: _words_of_exemplars,
}
"""What brings an older schema to N, by N; a number without an entry changes nothing."""


def is_current(connection: Connection) -> bool:
    """Whether the schema is the one this program knows, so that nothing need be written.

    Raises:
        EnvironmentLacks: when it is newer.
        UsageError: when the database belongs to some other program.
    """
    return _version(connection) == VERSION


def migrate(connection: Connection, say: Say) -> None:
    """Bring the schema up to date, within the caller's transaction. Raises as `is_current`.

    `say` is told that this is done, and how far it is where it takes long.
    """
    version = _version(connection)
    if version is None:
        _create(connection)
        return
    for number in sorted(number for number in STEPS if version < number <= VERSION):
        say(f"bringing the store up to date: schema {number}")
        STEPS[number](connection, say)
    connection.execute(update(meta).where(meta.c.key == "schema").values(value=VERSION))


def _create(connection: Connection) -> None:
    metadata.create_all(connection)
    rows = [{"key": "schema", "value": VERSION}, {"key": "revision", "value": 0}]
    connection.execute(insert(meta), rows)


def _version(connection: Connection) -> int | None:
    """The schema's number; `None` for a database without our tables."""
    tables = set(inspect(connection).get_table_names())
    if meta.name not in tables:
        _refuse_foreign(connection, tables)
        return None
    version: int | None = connection.scalar(select(meta.c.value).where(meta.c.key == "schema"))
    if version is None:
        raise EnvironmentLacks(
            "the store has lost its schema version",
            help="It is damaged: restore it from a backup, or move it aside and triage the cores again.",
        )
    if version > VERSION:
        raise EnvironmentLacks(
            f"a newer triage wrote this store (schema {version}; this triage knows {VERSION})",
            help="Upgrade triage, or choose another store with --store.",
        )
    return version


def _refuse_foreign(connection: Connection, tables: set[str]) -> None:
    """An SQLite file full of another program's tables is a mistyped --store; a PostgreSQL
    database is commonly shared, hence the prefix of our tables' names."""
    if tables and connection.dialect.name == "sqlite":
        raise UsageError(
            f"this SQLite database is not a triage store (it holds {', '.join(sorted(tables)[:3])})",
            help="Give --store a path of its own.",
        )
