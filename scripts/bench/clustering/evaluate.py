"""The table: our clusters and other people's rules on the same traces, bugs and split.

    .venv/bin/python scripts/bench/clustering/evaluate.py            on the bugs for design and tuning
    .venv/bin/python scripts/bench/clustering/evaluate.py --newest   on set E, which design has not seen
    .venv/bin/python scripts/bench/clustering/evaluate.py --last     on set D, made before it
    .venv/bin/python scripts/bench/clustering/evaluate.py --sealed   on set C, made before it
    .venv/bin/python scripts/bench/clustering/evaluate.py --tables   on set B, made before it
    .venv/bin/python scripts/bench/clustering/evaluate.py --fresh    on set A, made before it

Each use of the last five is counted.

`all`, `stripped` or `full` limit the table to those sets; --no-peers leaves it out, --no-details what
follows it. Parts of one table may so be made by several runs at a time.

Every peer's thresholds and parameters are tuned on a third of the traces of two fifths of the old bugs, for
each of the three sets of traces apart; ours are one setting for all. Needs siggen, numpy and scipy, fetched once
into the corpus' folder.
"""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import corpus  # first: it finds the project
import dataset
import fresh
import measure
import peers
import sealed
import tune
from dataset import OLD, Trace
from measure import bcubed
from peers import Distance, Grouping, Labels, Stack
from phps import home

from triage.cluster.profile import profile_of
from triage.cluster.shape import SCRIPT
from triage.model import Crash

PACKAGES = ("siggen==2.2.20241029", "numpy", "scipy")
_INNER, _RECURS = 120, 3
_OF_PEERS = 3  # every third trace of those bugs: all pairs of them are compared, for some thirty settings
_CUTS = [at / 40 for at in range(1, 40)]
Rule = Callable[[Sequence[Trace]], Labels]


@dataclass(frozen=True, slots=True)
class Scored:
    """A rule's clusters on the traces that judge it; `setting` is what tuning chose."""

    name: str
    labels: Labels
    setting: str
    tuned: float


def ensure_packages() -> None:
    """The peers' packages, in a folder that only this program looks into."""
    place = home() / "python"
    if not (place / "siggen").exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", str(place), *PACKAGES], check=True)
    sys.path.append(str(place))


def f1(traces: Sequence[Trace], labels: Labels) -> float:
    """B-cubed F1."""
    return bcubed([trace.bug for trace in traces], labels).f1


def exact(name: str, choices: Sequence[tuple[str, Rule]], train: Sequence[Trace], judge: Sequence[Trace]) -> Scored:
    """A rule that gives each trace a key: the choice that is best on the training bugs."""
    value, setting, rule = max(((f1(train, rule(train)), text, rule) for text, rule in choices), key=lambda x: x[0])
    return Scored(name, rule(judge), setting, value)


def grouped(
    name: str,
    stacks: Callable[[Sequence[Trace]], list[Stack]],
    distances: Sequence[tuple[str, Distance]],
    linkage: str,
    train: Sequence[Trace],
    judge: Sequence[Trace],
    cuts: Sequence[float] = _CUTS,
) -> Scored:
    """A distance with a way of grouping: parameters and threshold that are best on the training bugs."""
    best = (-1.0, "", 0.0, distances[0][1])
    known = stacks(train)
    for text, distance in distances:
        groups = Grouping(known, distance, linkage)
        value, cut = max((f1(train, groups.cut(cut)), cut) for cut in cuts)
        if value > best[0]:
            best = (value, text, cut, distance)
    value, text, cut, distance = best
    labels = Grouping(stacks(judge), distance, linkage).cut(cut)
    return Scored(name, labels, f"{text} cut {cut:g}".strip(), value)


def _depths(distance: Distance) -> list[tuple[str, Distance]]:
    """The distance over whole stacks and over their innermost frames alone: satyr leaves the number to its user."""
    whole: list[tuple[str, Distance]] = [("whole", distance)]
    return whole + [(f"top {n}", lambda a, b, n=n: distance(a[:n], b[:n])) for n in (3, 5, 8, 16)]


def others(train: Sequence[Trace], judge: Sequence[Trace]) -> list[Scored]:
    """Every peer."""
    tops = [(f"N={n}", lambda t, n=n: peers.top(t, n, plain=False)) for n in (1, 2, 3, 4, 5)]
    plain = [(f"N={n}", lambda t, n=n: peers.top(t, n, plain=True)) for n in (1, 2, 3, 4, 5)]
    known = peers.frequencies(peers.names_stacks(train))
    pdms = [(f"c={c} o={o}", peers.pdm(c, o)) for c, o in itertools.product((0.1, 0.3, 0.7), (0.0, 0.1))]
    sims = [(f"a={a} b={b} g={g}", peers.tracesim(known, a, b, g))
            for a, b, g in itertools.product((0.3, 1.0), (0.5, 2.0), (0.1,))]  # fmt: skip
    fasts = [(f"a={a} b={b} g={g}", peers.fast(known, a, b, g))
             for a, b, g in itertools.product((0.3, 1.0), (1.0, 5.0), (0.1,))]  # fmt: skip
    return [
        exact("top-N exact, raw names", tops, train, judge),
        exact("top-N exact, our names", plain, train, judge),
        exact("siggen 2.2", [("", peers.siggen)], train, judge),
        exact("Apport", [("", peers.apport)], train, judge),
        grouped("ClusterFuzz", peers.clusterfuzz_stacks, [("", peers.clusterfuzz)], "single", train, judge, (0.5,)),
        grouped("satyr Damerau-Levenshtein", peers.satyr_stacks, _depths(peers.damerau_levenshtein), "average", train,
                judge),
        grouped("satyr Jaccard", peers.satyr_stacks, _depths(peers.jaccard), "average", train, judge),
        grouped("CASR, as published", peers.casr_stacks, [("a=.04 r=.13", peers.pdm(0.04, 0.13))], "complete", train,
                judge, (0.3,)),
        grouped("CASR, cut tuned", peers.casr_stacks, [("a=.04 r=.13", peers.pdm(0.04, 0.13))], "complete", train,
                judge),
        grouped("ReBucket PDM", peers.names_stacks, pdms, "complete", train, judge),
        grouped("TraceSim", peers.names_stacks, sims, "average", train, judge),
        grouped("FaST", peers.names_stacks, fasts, "average", train, judge),
    ]  # fmt: skip


def ours(traces: Sequence[Trace], seed: int | None = 0) -> Labels:
    """Our clusters, the traces coming one after another in an order by chance."""
    order = list(range(len(traces)))
    if seed is not None:
        random.Random(seed).shuffle(order)
    found = tune.clusters(tune.signed([traces[at] for at in order]))
    labels: Labels = [None] * len(traces)
    for at, label in zip(order, found, strict=True):
        labels[at] = label
    return labels


SETS: tuple[tuple[str, Callable[[Trace], bool]], ...] = (
    ("all traces", lambda trace: True),
    ("stripped builds only", lambda trace: trace.view == "stripped"),
    ("full symbols only", lambda trace: trace.view == "symbols"),
)


def table(train: Sequence[Trace], judge: Sequence[Trace], sets: Sequence[str]) -> None:
    """Print it for each set of traces (`all`, `stripped`, `full`)."""
    for title, wanted in SETS:
        if not title.startswith(tuple(sets)):
            continue
        tuned, judged = [t for t in train if wanted(t)], [t for t in judge if wanted(t)]
        bugs = [trace.bug for trace in judged]
        mine = ours(judged)
        rows = sorted(others(tuned, judged), key=lambda row: -f1(judged, row.labels))
        print(f"\n{title}: {len(judged)} traces of {len(set(bugs))} bugs")
        print(
            f"  {'rule':<28} {'P':>5} {'R':>5} {'F1':>6} {'95 %':>15} {'ours - it, 95 %':>24}  setting (F1 in tuning)"
        )
        found = bcubed(bugs, mine)
        _, _, _, low, high = measure.bootstrap(bugs, mine, mine)
        print(f"  {'triage':<28} {found.precision:5.3f} {found.recall:5.3f} {found.f1:6.3f} [{low:.3f}, {high:.3f}]")
        for row in rows:
            found = bcubed(bugs, row.labels)
            gain, below, above, _, _ = measure.bootstrap(bugs, mine, row.labels)
            print(f"  {row.name:<28} {found.precision:5.3f} {found.recall:5.3f} {found.f1:6.3f} {'':>15} "
                  f"{gain:+7.3f} [{below:+.3f}, {above:+.3f}]  {row.setting} ({row.tuned:.3f})",
                  flush=True)  # fmt: skip


def views(part: str, traces: Sequence[Trace], labels: Labels) -> None:
    """The same core read stripped and with symbols; the same bug on 7.4 and 8.2 without symbols."""
    pairs: dict[tuple[str, str], dict[str, object]] = {}
    for trace, label in zip(traces, labels, strict=True):
        pairs.setdefault((trace.test, trace.condition), {})[trace.view] = label
    both = [pair for pair in pairs.values() if len(pair) == 2]
    same = sum(pair["stripped"] == pair["symbols"] for pair in both)
    print(f"\nsame core stripped and with symbols in one cluster: {same} of {len(both)} ({same / len(both):.1%})")
    for old, new in (("7.4", "8.2"), ("8.2", "8.4")):
        _across(part, traces, labels, old, new)


def kinds(traces: Sequence[Trace], labels: Labels) -> None:
    """The kinds of a sealed set apart, in the clusters of all."""
    scores = measure.per_trace([trace.bug for trace in traces], labels)
    for title in sealed.KINDS.values():
        at = [i for i, trace in enumerate(traces) if sealed.kind_of(trace.bug) == title]
        precision, recall = (sum(scores[i][k] for i in at) / max(1, len(at)) for k in (0, 1))
        bugs = len({traces[i].bug for i in at})
        if not bugs:
            continue
        print(f"{title}: {bugs} bugs, {len(at)} traces: P {precision:.3f} R {recall:.3f}")


def _across(part: str, traces: Sequence[Trace], labels: Labels, old: str, new: str) -> None:
    chosen = [(t, label) for t, label in zip(traces, labels, strict=True) if t.view == "stripped" and t.kind != "c"]
    found = measure.versions([(t.bug, t.condition, label) for t, label in chosen], old, new)
    if not found:
        return
    other = {bug for bug in found if _differs([t for t, _ in chosen if t.bug == bug], old, new)}
    apart = [f"{bug}{' (another symptom)' if bug in other else ''}" for bug, (_, major) in found.items() if not major]
    print(f"same bug on PHP {old} and {new} without symbols:")
    groups: list[tuple[str, Set[str]]] = [
        ("all", found.keys()),
        ("without those of another symptom", found.keys() - other),
    ]
    if part == dataset.LAST:  # sets made before count them as all others, and those made after have none
        own = {bug for bug in found if all(map(_is_own_recursion, (t.crash for t, _ in chosen if t.bug == bug)))}
        groups.append(("without endless recursions of the script's own functions", found.keys() - own))
    for title, kept in groups:
        mains, pairs = (sum(found[bug][k] for bug in kept) / max(1, len(kept)) for k in (1, 0))
        count = sum(found[bug][1] for bug in kept)
        print(
            f"  {title}: main cluster the same for {count} of {len(kept)} ({mains:.1%}); pairs of crashes {pairs:.1%}"
        )
    print(f"  apart: {', '.join(apart) or 'none'}")


def _is_own_recursion(crash: Crash) -> bool:
    """Whether functions of the script call each other without end: the traces of one such label have other functions
    each, since the wrappers rename them, and at a site they would be different mistakes of the site's own.
    """
    if not any(finding.rule == "stack-overflow" for finding in crash.findings) or crash.crashed_thread is None:
        return False
    inner = crash.crashed_thread.frames[:_INNER]
    times = Counter(frame.function for frame in inner if frame.kind == "php" and frame.file is not None)
    return any(function is not None and count >= _RECURS for function, count in times.items())


def _differs(traces: Sequence[Trace], old: str, new: str) -> bool:
    """Whether a bug shows itself as something else: no crash of the one version has the signal of one of the other,
    and none has a telling function in common with one of the other, native or of PHP.
    """
    olds, news = ([_symptom(t) for t in traces if version in t.condition] for version in (old, new))
    return not any(a[0] == b[0] or a[1] & b[1] for a in olds for b in news)


def _symptom(trace: Trace) -> tuple[str | None, set[str]]:
    profile = profile_of(trace.crash)
    return profile.signal, {step.name for step in profile.steps if step.name and step.kind != SCRIPT}


def failures(traces: Sequence[Trace], labels: Labels) -> None:
    """The bugs that did not come out as one cluster of their own, with what is seen of the reason."""
    bugs = [trace.bug for trace in traces]
    scores = measure.per_trace(bugs, labels)
    in_cluster: dict[object, Counter[str]] = {}
    for bug, label in zip(bugs, labels, strict=True):
        in_cluster.setdefault(label, Counter())[bug] += 1
    print("\nbugs that are not one cluster of their own:")
    for bug in sorted(set(bugs)):
        at = [i for i, b in enumerate(bugs) if b == bug]
        precision, recall = (sum(scores[i][k] for i in at) / len(at) for k in (0, 1))
        if precision > 0.995 and recall > 0.995:
            continue
        parts: dict[object, list[Trace]] = {}
        for i in at:
            parts.setdefault(labels[i], []).append(traces[i])
        others_ = sorted({o for label in parts for o in in_cluster[label] if o != bug})
        print(f"  {bug:<26} {len(at):3} traces, P {precision:.2f} R {recall:.2f}: {_reason(parts, others_)}")


def _reason(parts: dict[object, list[Trace]], others_: Sequence[str]) -> str:
    said = [f"with {', '.join(others_)}"] if others_ else []
    main = max(parts.values(), key=len)
    for part in parts.values():
        if part is main:
            continue
        where = Counter(f"{t.condition} {t.view}" for t in part).most_common(2)
        kinds = {(t.crash.signal.name if t.crash.signal else "", t.crash.signature.title if t.crash.signature else "")
                 for t in part[:1]}  # fmt: skip
        said.append(f"{len(part)} apart ({'; '.join(w for w, _ in where)}: {' '.join(next(iter(kinds)))[:70]})")
    return "; ".join(said)


def shuffles(traces: Sequence[Trace], rounds: int = 50) -> None:
    """How much the order matters."""
    signed = tune.signed(traces)
    scores, homes = [], [Counter[frozenset[int]]() for _ in traces]
    for seed in range(rounds):
        order = list(range(len(traces)))
        random.Random(seed).shuffle(order)
        found = tune.clusters([signed[at] for at in order])
        labels: Labels = [None] * len(traces)
        members: dict[str, set[int]] = {}
        for at, label in zip(order, found, strict=True):
            labels[at] = label
            members.setdefault(label, set()).add(at)
        for at in range(len(traces)):
            homes[at][frozenset(members[str(labels[at])])] += 1
        scores.append(f1(traces, labels))
    scores.sort()
    mean = sum(scores) / rounds
    spread = (sum((s - mean) ** 2 for s in scores) / rounds) ** 0.5
    moved = Counter(traces[at].bug for at, home_ in enumerate(homes) if home_.most_common(1)[0][1] < rounds)
    print(f"\n{rounds} orders: F1 {scores[0]:.4f} to {scores[-1]:.4f}, mean {mean:.4f}, deviation {spread:.4f}")
    listed = ", ".join(f"{bug} ({count})" for bug, count in moved.most_common())
    print(f"bugs whose clusters were not the same each time: {listed or 'none'}")


def main(argv: list[str]) -> int:
    """Print all of it."""
    begun = time.monotonic()
    ensure_packages()
    for part, bugs, count in dataset.sizes():
        print(f"{part}: {bugs} bugs, {count} traces")
    part = next((part for part in reversed(dataset.PARTS) if f"--{part}" in argv), OLD)
    judge = dataset.load(part)
    if part != OLD:
        print(f"look number {dataset.count_look(part, ' '.join(argv))} at bugs that design had not seen")
    if "--no-details" not in argv:
        labels = ours(judge)
        views(part, judge, labels)
        if part in sealed.SETS:
            kinds(judge, labels)
        failures(judge, labels)
        shuffles(judge)
    if "--no-peers" not in argv:
        train = dataset.load(OLD, traits=False)
        tuned = [trace for trace in train if dataset.is_for_peers(trace.bug)][::_OF_PEERS]
        table(tuned, judge, [word for word in argv if not word.startswith("--")] or [""])
    print(f"\n{time.monotonic() - begun:.0f} s; parts: {', '.join((*corpus.PARTS, *fresh.PARTS))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
