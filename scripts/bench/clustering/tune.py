"""Finds the weights and the frequency table of triage/cluster on all bugs that may be used for it.

    .venv/bin/python scripts/bench/clustering/tune.py [ROUNDS]              prints them; --write puts them in place
    .venv/bin/python scripts/bench/clustering/tune.py [ROUNDS] --halves     tunes on each half of the bugs, and
                                                                            prints what the other half says of it

A random search. The frequency table has the functions that at least two of PHP's own bugs have between the
crash and the script; names of our own faulty programs are left out, for nobody else has them.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import dataset
import measure
from book import MemoryBook
from dataset import FRESH, OLD, TABLES, Trace
from measure import bcubed

from triage.cluster import rarity
from triage.cluster.assign import place
from triage.cluster.profile import Profile, profile_of
from triage.cluster.shape import NATIVE, SCRIPT
from triage.cluster.signature import signature_of
from triage.cluster.similarity import Weights, weights
from triage.model import Signature

ROOM = Path(__file__).resolve().parents[3] / "triage" / "cluster"
Signed = tuple[Trace, Signature, Profile]
Corpus = Mapping[str, Sequence[Signed]]

_OURS = re.compile(r"faulty_|orders_")  # functions of the extensions that were made for this
_PARTS = (OLD, FRESH, TABLES)
_PRECISE = 0.94
_RANGES = {
    "decay": (0.1, 2.0), "offset": (0.0, 0.8), "helper": (0.05, 0.8), "foreign": (0.1, 1.0), "built_in": (0.2, 2.5),
    "other": (0.5, 5.0), "depths": (0.0, 1.0), "script": (0.0, 0.6), "opcode": (0.1, 1.5), "fault": (0.0, 1.2),
    "reach": (0.0, 1.5), "signal": (0.0, 2.0), "heap": (0.0, 0.8), "place": (0.0, 1.0), "unknown": (0.0, 0.8),
    "first": (1.0, 5.0), "commonest": (0.02, 0.9), "alike": (0.15, 0.7), "sure": (0.5, 3.0), "unlike": (0.0, 0.3),
    "rich": (0.3, 4.0), "join": (0.5, 0.9), "evidence": (0.1, 1.5),
}  # fmt: skip


def signed(traces: Sequence[Trace]) -> list[Signed]:
    """The traces with what clustering makes of them."""
    return [(trace, signature_of(trace.crash), profile_of(trace.crash)) for trace in traces]


def clusters(found: Sequence[Signed], given: Weights | None = None) -> list[str]:
    """Each trace's cluster when they come one after the other."""
    book = MemoryBook()
    placed = [place(signature, profile, book, given) for _, signature, profile in found]
    return [book.root(one.cluster) for one in placed]


def frequency(found: Sequence[Signed]) -> dict[str, object]:
    """In how many bugs each function is, for those that several have."""
    of: dict[str, set[str]] = {}
    for trace, _, profile in found:
        if trace.kind == "c":
            continue
        if profile.overflow:
            continue
        door = next((at for at, step in enumerate(profile.steps) if step.kind != NATIVE), len(profile.steps))
        for step in profile.steps[: door + 1]:
            if step.name is not None and step.kind != SCRIPT and not _OURS.match(step.name):
                of.setdefault(step.name, set()).add(trace.bug)
    counts = Counter({name: len(bugs) for name, bugs in of.items() if len(bugs) > 1})
    bugs = len({trace.bug for trace, _, _ in found if trace.kind != "c"})
    return {"bugs": bugs, "functions": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))}


def worth(found: Corpus, given: Weights) -> float:
    """What the search makes large, for each part alike: F1 of all, of stripped builds and of full symbols.

    Too little precision costs as much again, and how many bugs are in one main cluster on PHP 7.4 and 8.2 counts.
    """
    total = 0.0
    for part in found.values():
        scores = []
        for view, weight in ((None, 1.0), ("stripped", 1.0), ("symbols", 0.5)):
            ordered = [one for one in part if view in (None, one[0].view)]
            random.Random(1).shuffle(ordered)
            labels = clusters(ordered, given)
            figures = bcubed([one[0].bug for one in ordered], labels)
            scores.append((weight, figures.f1 - max(0.0, _PRECISE - figures.precision)))
            if view == "stripped":
                scores.append((0.4, _across([one[0] for one in ordered], labels)))
        total += sum(weight * score for weight, score in scores) / sum(weight for weight, _ in scores)
    return total / len(found)


def _across(traces: Sequence[Trace], labels: Sequence[str]) -> float:
    shares = measure.versions([(t.bug, t.condition, label) for t, label in zip(traces, labels, strict=True)
                               if t.kind != "c"])  # fmt: skip
    return sum(major for _, major in shares.values()) / max(1, len(shares))


def without_files(found: Sequence[Signed]) -> list[Signed]:
    """The same with a name of its own for each file: the corpus calls them by their bug, which tells too much."""
    return [(trace, signature, replace(profile, steps=tuple(
        replace(step, name=f"{step.name.partition('@')[0]}@{at}") if step.name and "@" in step.name else step
        for step in profile.steps))) if trace.kind != "c" else (trace, signature, profile)
        for at, (trace, signature, profile) in enumerate(found)]  # fmt: skip


def half(found: Corpus, which: int) -> Corpus:
    """The traces of one half of the bugs, by lot."""
    return {part: [one for one in own if _lot(one[0].bug) % 2 == which] for part, own in found.items()}


def _lot(bug: str) -> int:
    return int(hashlib.sha256(f"cv{bug}".encode()).hexdigest(), 16)


def search(found: Corpus, rounds: int) -> tuple[Weights, float]:
    """The best of `rounds` tries, each a step away from the best so far."""
    dice = random.Random(7)
    best = weights()
    value = worth(found, best)
    print(f"begins at {value:.4f}", flush=True)
    for at in range(rounds):
        names = dice.sample(list(_RANGES), dice.choice((1, 2, 3, 5)))
        spread = 0.5 if at < rounds // 3 else 0.2
        change = {}
        for name in names:
            low, high = _RANGES[name]
            change[name] = round(min(high, max(low, dice.gauss(getattr(best, name), spread * (high - low)))), 3)
        tried = replace(best, **change)
        new = worth(found, tried)
        if new > value:
            best, value = tried, new
            print(f"{at:4} {value:.4f} {change}", flush=True)
    return best, value


def halves(found: Corpus, rounds: int) -> None:
    """Print what tuning on one half of the bugs is worth on the other."""
    for which in (0, 1):
        tuned, judge = half(found, which), half(found, 1 - which)
        before = worth(judge, weights())
        best, value = search(tuned, rounds)
        print(f"half {which}: {value:.4f}; the other before {before:.4f}, after {worth(judge, best):.4f}", flush=True)


def main(argv: list[str]) -> int:
    """Search and print."""
    rounds = int(next((word for word in argv if word.isdigit()), "150"))
    found = {part: without_files(signed(dataset.load(part))) for part in _PARTS}
    whole = [one for part in found.values() for one in part]
    if "--write" in argv:
        (ROOM / "frequency.json").write_text(json.dumps(frequency(whole), indent=1) + "\n")
        rarity._table.cache_clear()
        rarity.rarity.cache_clear()
    if "--halves" in argv:
        halves(found, rounds)
        return 0
    begun = time.process_time()
    best, value = search(found, rounds)
    print(f"{len(whole)} traces of {len({one[0].bug for one in whole})} bugs: {value:.4f} after "
          f"{rounds} rounds, {time.process_time() - begun:.0f} s")  # fmt: skip
    print(json.dumps(asdict(best), indent=2))
    if "--write" in argv:
        (ROOM / "weights.json").write_text(json.dumps(asdict(best), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
