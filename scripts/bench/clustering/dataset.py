"""The corpus as the evaluation sees it: labels by cause, and the bugs by what they may be used for.

The bugs of corpus.py are for design and tuning: 105 of them were sealed once and were looked at five times, which
used them up. Those of fresh.py judge: the first of them (`fresh`) were looked at twice and then used for tuning,
`tables` came after that. Those of sealed.py (`sealed`, set C; then `last`, set D; then `newest`, set E) were made
last, with labels decided from PHP's source. `looks.txt` in the corpus' folder counts how often such figures were
printed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpus
import fresh
import sealed
from phps import home
from traiting import with_traits

from tests.lab.faults import PHP
from triage.model import Crash
from triage.wire import crash_from_json

PARTS = OLD, FRESH, TABLES, SEALED, LAST, NEWEST = "old", "fresh", "tables", "sealed", "last", "newest"
_LOOKS = "looks.txt"
_MARKS = {SEALED: "set C: ", LAST: "set D: ", NEWEST: "set E: "}
_FOR_PEERS = 40
_CALLED = re.compile(r"\bfaulty_\w+")


@dataclass(frozen=True, slots=True)
class Trace:
    """One crash read in one way, with the bug it shows."""

    bug: str
    test: str
    kind: str
    condition: str
    view: str
    crash: Crash


def is_for_peers(bug: str) -> bool:
    """Whether other people's rules are tuned on the bug: two fifths of the old ones, by lot, as for all figures."""
    return int(hashlib.sha256(bug.encode()).hexdigest(), 16) % 100 < _FOR_PEERS


def _labels() -> dict[str, str]:
    """Purpose-made PHP crashes by their cause: cases that call the same faulty function show one bug."""
    found = {}
    for wanted in PHP:
        called = _CALLED.search(wanted.code or "")
        found[f"own-{wanted.name}"] = f"own-{called[0]}" if called else f"own-{wanted.name}"
    return found


def load(part: str, *, traits: bool = True) -> list[Trace]:
    """The traces of the bugs of `old`, `fresh`, `tables` or a sealed set; without traits they come sooner."""
    labels = _labels()
    found = []
    for record in records(part):
        crash = crash_from_json(record["crash"])
        found.append(Trace(labels.get(record["bug"], record["bug"]), record["test"], record["kind"],
                           record["condition"], record["view"], with_traits(crash) if traits else crash))  # fmt: skip
    return found


def records(part: str) -> Iterator[dict[str, Any]]:
    """What is kept of one part."""
    if part == OLD:
        return corpus.traces()
    if part in sealed.SETS:
        return sealed.traces(sealed.SETS[part])
    return fresh.traces(fresh.TABLES if part == TABLES else fresh.PARTS)


def count_look(part: str, why: str) -> int:
    """Write down that figures of a part's bugs are looked at now; returns how often that was so.

    Sets C, D and E have counts of their own; before them, the word "sealed" stood for other bugs.
    """
    path = home() / _LOOKS
    mark = _MARKS.get(part, "")
    with path.open("a") as file:
        file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {mark}{why}\n")
    said = [line.split(" ", 1)[-1] for line in path.read_text().splitlines()]
    return sum(line.startswith(mark) if mark else not line.startswith((*_MARKS.values(),)) for line in said)


def sizes() -> Iterator[tuple[str, int, int]]:
    """(part, bugs, traces), without a look at any trace."""
    labels = _labels()
    for part in PARTS:
        bugs = [labels.get(record["bug"], record["bug"]) for record in records(part)]
        yield part, len(set(bugs)), len(bugs)


def save_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """JSON lines, packed."""
    with gzip.open(path, "wt") as file:
        for record in records:
            file.write(json.dumps(record, separators=(",", ":")) + "\n")
