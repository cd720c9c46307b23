"""Every question a list asks is answered from an index."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects import sqlite

from triage.store import open_store, reads

from .samples import STAMP, crash, triaged

TABLE = "triage_crashes"

PLANS = {
    "rows": (
        reads.crash_rows(None, 500, 0),
        [f"SCAN {TABLE} USING INDEX triage_crashes_newest"],
    ),
    "rows of a cluster": (
        reads.crash_rows("C-1", 500, 0),
        [f"SEARCH {TABLE} USING INDEX triage_crashes_of_cluster (cluster=?)"],
    ),
    "members": (
        reads.members(None),
        [f"SEARCH {TABLE} USING COVERING INDEX triage_crashes_of_cluster (cluster>?)"],
    ),
    "places": (
        reads.places(None),
        [f"SEARCH {TABLE} USING COVERING INDEX triage_crashes_places (cluster>?)"],
    ),
    "record": (
        reads.record("aa01"),
        [f"SEARCH {TABLE} USING INDEX sqlite_autoindex_triage_crashes_1 (id=?)"],
    ),
    "done input": (
        reads.done_input("/core", "1:2:3"),
        [
            "SEARCH triage_inputs USING INDEX sqlite_autoindex_triage_inputs_1 (digest=?)",
            f"SEARCH {TABLE} USING INDEX sqlite_autoindex_triage_crashes_1 (id=?)",
        ],
    ),
}


def plan(url: str, question: reads.Rows) -> list[str]:
    literal = question.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with open_store(url) as store:
        store.save(triaged(crash()), STAMP)
        with store._engines.reader.connect() as connection:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {literal}")
            return [row.detail for row in rows]


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_is_one_index_and_no_sorting(sqlite_url: str, name: str) -> None:
    question, expected = PLANS[name]

    assert plan(sqlite_url, question) == expected
