"""The filter language that lists, reports and the terminal interface share: `is:open ext:redis@6.* last:7d`.

`parse_query(text)` makes a `Query`; `Filter` says which clusters and crashes it selects; `KEYS` is the registry
that help, documentation and completion are made from.
"""

from triage.query.deploys import deploys, running
from triage.query.facts import Fact, Told, facts_from, facts_of, told_of
from triage.query.keys import FACT_KEYS, KEYS, Key, Kind, keys_help
from triage.query.match import Facts, Filter, crash_matches, ordered
from triage.query.parse import Query, Term, parse_query

__all__ = [
    "parse_query", "Query", "Term", "Filter", "Facts", "crash_matches", "ordered",
    "KEYS", "FACT_KEYS", "Key", "Kind", "keys_help", "Fact", "facts_of", "Told",
    "told_of", "facts_from", "deploys", "running",
]  # fmt: skip
