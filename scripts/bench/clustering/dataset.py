"""The corpus as the evaluation sees it: labels by cause, and the split of the bugs.

The split is by hash of the bug's name and was fixed before any trace was looked at: a fifth of the
bugs for design (looked at freely), a fifth for tuning, the rest sealed. `looks.txt` in the corpus'
folder counts how often figures of sealed bugs were printed.
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

from corpus import traces
from phps import home

from tests.lab.faults import PHP
from triage.model import Crash
from triage.wire import crash_from_json

DESIGN, TUNE, SEALED = "design", "tune", "sealed"
_LOOKS = "looks.txt"
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


def part_of(bug: str) -> str:
    """The part of the split a bug belongs to."""
    number = int(hashlib.sha256(bug.encode()).hexdigest(), 16) % 100
    return DESIGN if number < 20 else TUNE if number < 40 else SEALED


def _labels() -> dict[str, str]:
    """Purpose-made PHP crashes by their cause: cases that call the same faulty function show one bug."""
    found = {}
    for wanted in PHP:
        called = _CALLED.search(wanted.code or "")
        found[f"own-{wanted.name}"] = f"own-{called[0]}" if called else f"own-{wanted.name}"
    return found


def load(parts: Iterable[str]) -> list[Trace]:
    """The traces of the bugs of these parts."""
    wanted, labels = set(parts), _labels()
    found = []
    for record in traces():
        bug = labels.get(record["bug"], record["bug"])
        if part_of(bug) in wanted:
            found.append(Trace(bug, record["test"], record["kind"], record["condition"], record["view"],
                               crash_from_json(record["crash"])))  # fmt: skip
    return found


def count_look(why: str) -> int:
    """Write down that sealed figures are looked at now; returns how often that was so."""
    path = home() / _LOOKS
    with path.open("a") as file:
        file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {why}\n")
    return len(path.read_text().splitlines())


def looks() -> int:
    """How often sealed figures were looked at."""
    path = home() / _LOOKS
    return len(path.read_text().splitlines()) if path.exists() else 0


def sizes() -> Iterator[tuple[str, int, int]]:
    """(part, bugs, traces), without a look at any trace."""
    labels, bugs = _labels(), dict[str, dict[str, int]]()
    for record in traces():
        bug = labels.get(record["bug"], record["bug"])
        counts = bugs.setdefault(part_of(bug), {})
        counts[bug] = counts.get(bug, 0) + 1
    for part, counts in sorted(bugs.items()):
        yield part, len(counts), sum(counts.values())


def save_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """JSON lines, packed."""
    with gzip.open(path, "wt") as file:
        for record in records:
            file.write(json.dumps(record, separators=(",", ":")) + "\n")
