"""A store as schema 1 made it, with two clusters; one was marked."""

from __future__ import annotations

import json

from sqlalchemy import Connection, text

from triage.model import Crash
from triage.wire import crash_to_json

# As the first triage created it; on PostgreSQL and SQLite alike.
STATEMENTS = (
    'CREATE TABLE triage_meta ("key" TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL)',
    """CREATE TABLE triage_clusters (
        id TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL UNIQUE, signature TEXT NOT NULL, title TEXT NOT NULL,
        state TEXT NOT NULL, note TEXT)""",
    """CREATE TABLE triage_crashes (
        id TEXT NOT NULL PRIMARY KEY, cluster TEXT REFERENCES triage_clusters (id), core TEXT NOT NULL,
        status TEXT NOT NULL, time BIGINT, host TEXT, pid BIGINT, executable TEXT, signal TEXT, runtime TEXT,
        script TEXT, title TEXT, record TEXT NOT NULL)""",
    "CREATE INDEX triage_crashes_newest ON triage_crashes (time DESC, id)",
    "CREATE INDEX triage_crashes_of_cluster ON triage_crashes (cluster, time DESC, id)",
    "CREATE INDEX triage_crashes_runtimes ON triage_crashes (cluster, runtime)",
    "CREATE INDEX triage_crashes_hosts ON triage_crashes (cluster, host)",
    """CREATE TABLE triage_inputs (
        digest TEXT NOT NULL PRIMARY KEY, path TEXT NOT NULL, stamp TEXT, status TEXT NOT NULL, code TEXT,
        message TEXT, crash TEXT REFERENCES triage_crashes (id))""",
    "CREATE INDEX triage_inputs_status ON triage_inputs (status)",
    "INSERT INTO triage_meta VALUES ('schema', 1), ('revision', 7)",
    """INSERT INTO triage_clusters VALUES
        ('C-aaaaaa', 'aaaaaa', 'v1:a', 'a', 'known', 'ticket 7'), ('C-bbbbbb', 'bbbbbb', 'v1:b', 'b', 'new', NULL)""",
)


def make(connection: Connection, *crashes: Crash) -> None:
    """Make the tables, and put crashes into the cluster that each names; the last gets a broken record."""
    for statement in STATEMENTS:
        connection.exec_driver_sql(statement)
    for crash in crashes:
        record = "{" if crash is crashes[-1] else json.dumps(crash_to_json(crash))
        connection.execute(
            text(
                "INSERT INTO triage_crashes (id, cluster, core, status, time, runtime, record)"
                " VALUES (:id, :cluster, :core, 'ok', 1767225600000000, 'php 8.2.7', :record)"
            ),
            {"id": crash.id, "cluster": crash.cluster, "core": crash.core, "record": record},
        )
