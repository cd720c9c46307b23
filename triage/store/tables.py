"""The tables as the current schema has them (`migrations.VERSION`).

The columns of `crashes` beside `record` are copies for lists and counts. `record` stands last:
SQLite then reads the others without walking through the pages of a long record. Each index
below answers one question alone, without a look at the table.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, Table, Text

from triage.store.columns import Exact, Moment

metadata = MetaData()

# Numbers about the store itself: `schema`, and `revision` which every commit raises.
meta = Table(
    "triage_meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

clusters = Table(
    "triage_clusters",
    metadata,
    Column("id", Exact, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),  # of `signature`
    Column("signature", Exact, nullable=False),
    Column("title", Exact, nullable=False),
    Column("state", Text, nullable=False),
    Column("note", Exact),
    Column("decision", Integer),  # the row of `decisions` that holds now; `state` and `note` are copies of its
)

# What persons decided, for ever: what is undone is marked so.
decisions = Table(
    "triage_decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("cluster", Exact, ForeignKey(clusters.c.id), nullable=False),
    Column("at", Moment, nullable=False),
    Column("by", Exact),
    Column("state", Text, nullable=False),
    Column("note", Exact),
    Column("bug", Exact),
    Column("until", Exact),
    Column("fixed_in", Exact),
    Column("since", Moment),
    Column("began", Moment),
    Column("undone", Moment),
    Column("undone_by", Exact),
)
Index("triage_decisions_of_cluster", decisions.c.cluster, decisions.c.id)

crashes = Table(
    "triage_crashes",
    metadata,
    Column("id", Exact, primary_key=True),
    Column("cluster", Exact, ForeignKey(clusters.c.id)),
    Column("core", Exact, nullable=False),
    Column("status", Text, nullable=False),
    Column("time", Moment),
    Column("host", Exact),
    Column("pid", BigInteger),
    Column("executable", Exact),
    Column("signal", Exact),
    Column("runtime", Exact),
    Column("script", Exact),
    Column("title", Exact),
    Column("record", Text, nullable=False),  # JSON in ASCII, see wire.py
)
Index("triage_crashes_newest", crashes.c.time.desc(), crashes.c.id, crashes.c.cluster)
Index("triage_crashes_of_cluster", crashes.c.cluster, crashes.c.time.desc(), crashes.c.id)
Index("triage_crashes_places", crashes.c.cluster, crashes.c.runtime, crashes.c.host, crashes.c.time)
Index("triage_crashes_rollouts", crashes.c.runtime, crashes.c.host, crashes.c.time)
Index("triage_crashes_statuses", crashes.c.cluster, crashes.c.status)

# What can be asked of the crashes of a cluster (`query.facts`), each value once a cluster.
facts = Table(
    "triage_facts",
    metadata,
    Column("key", Text, primary_key=True),
    Column("cluster", Exact, ForeignKey(clusters.c.id), primary_key=True),
    Column("value", Exact, primary_key=True),
)
Index("triage_facts_of_cluster", facts.c.cluster)

# Every exact key that a cluster's crashes came with: the same crash with and without symbols has two.
# `cluster` is the one that learned it, be that redirected since or not.
keys = Table(
    "triage_keys",
    metadata,
    Column("digest", Text, primary_key=True),  # of `key`
    Column("key", Exact, nullable=False),
    Column("cluster", Exact, ForeignKey(clusters.c.id), nullable=False),
)
Index("triage_keys_of_cluster", keys.c.cluster)

# Crashes that stand for their cluster in comparisons: a dozen of a cluster at most.
exemplars = Table(
    "triage_exemplars",
    metadata,
    Column("id", Text, primary_key=True),  # the digest of the key it was kept for
    Column("cluster", Exact, ForeignKey(clusters.c.id), nullable=False),
    Column("profile", Exact, nullable=False),  # JSON, see cluster/profile.py
)
Index("triage_exemplars_of_cluster", exemplars.c.cluster)

# The inverted index: which exemplars have a word. `word` is a digest of it.
words = Table(
    "triage_words",
    metadata,
    Column("word", Text, primary_key=True),
    Column("exemplar", Text, ForeignKey(exemplars.c.id), primary_key=True),
)
Index("triage_words_of_exemplar", words.c.exemplar)

# A cluster that is part of another now. Its id stays good for ever.
redirects = Table(
    "triage_redirects",
    metadata,
    Column("cluster", Exact, ForeignKey(clusters.c.id), primary_key=True),
    Column("target", Exact, ForeignKey(clusters.c.id), nullable=False),
    Column("change", BigInteger, nullable=False),  # the change that did it
)

# Merges and splits, whoever made them; `undone` when one was taken back.
regroupings = Table(
    "triage_regroupings",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),  # merge or split
    Column("cluster", Exact, nullable=False),
    Column("target", Exact, nullable=False),
    Column("by", Text, nullable=False),  # user or triage
    Column("why", Exact),
    Column("time", Moment),
    Column("undone", Moment),
)

# Which crashes a change moved, and from where.
moves = Table(
    "triage_moves",
    metadata,
    Column("change", BigInteger, primary_key=True),
    Column("crash", Exact, primary_key=True),
    Column("origin", Exact, nullable=False),
)

# What a person said is not the same; `one` < `other`.
apart = Table(
    "triage_apart",
    metadata,
    Column("one", Exact, primary_key=True),
    Column("other", Exact, primary_key=True),
)

# Crashes that a person put where they are: triaging them again does not move them.
pins = Table(
    "triage_pins",
    metadata,
    Column("crash", Exact, primary_key=True),
    Column("cluster", Exact, nullable=False),
)

# Crashes that look like victims of memory corruption, by what would tell its culprit.
victims = Table(
    "triage_victims",
    metadata,
    Column("crash", Exact, primary_key=True),
    Column("digest", Text, nullable=False),  # of `incident`
    Column("incident", Exact, nullable=False),
)
Index("triage_victims_of_incident", victims.c.digest)

# One row an input path: what became of it, and the stamp of the file it was then.
inputs = Table(
    "triage_inputs",
    metadata,
    Column("digest", Text, primary_key=True),  # of `path`
    Column("path", Exact, nullable=False),
    Column("stamp", Text),
    Column("status", Text, nullable=False),
    Column("code", Exact),
    Column("message", Exact),
    Column("crash", Exact, ForeignKey(crashes.c.id)),
)
Index("triage_inputs_status", inputs.c.status)

# One row for each configuration of healthy workers on a host and pool; `record` is a Snapshot in JSON.
snapshots = Table(
    "triage_snapshots",
    metadata,
    Column("digest", Text, primary_key=True),  # of host, pool and configuration
    Column("last_seen", Moment, nullable=False),
    Column("record", Text, nullable=False),
)

# What was changed, when: `record` is a Change in JSON.
changes = Table(
    "triage_changes",
    metadata,
    Column("digest", Text, primary_key=True),  # of time, host and words
    Column("time", Moment, nullable=False),
    Column("record", Text, nullable=False),
)
Index("triage_changes_time", changes.c.time)

# Bugs whose regression test killed the PHP of this machine: `record` is a KnownBug in JSON.
known_bugs = Table(
    "triage_known_bugs",
    metadata,
    Column("digest", Text, primary_key=True),  # of bug and signature
    Column("bug", Exact, nullable=False),
    Column("record", Text, nullable=False),
)

# When a crash (`crash:ID`) or an input that gave none (`input:DIGEST`) first came in, whatever its own time.
arrivals = Table(
    "triage_arrivals",
    metadata,
    Column("key", Text, primary_key=True),
    Column("at", Moment, nullable=False),
)
Index("triage_arrivals_newest", arrivals.c.at)

# Up to when each series of reports has told (`covered`), and when it last had something to say.
reports = Table(
    "triage_reports",
    metadata,
    Column("name", Text, primary_key=True),
    Column("covered", Moment, nullable=False),
    Column("spoke", Moment),
)
