"""Other people's rules for which crashes are the same, from their published descriptions. For measuring only.

Each gets the native frames as a debugger shows them, with the names triage found, which in stripped
PHP are more than GDB's. None of them reads the interpreter's own stack.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from dataset import Trace

from triage.cluster.normalize import function_name
from triage.cluster.shape import place_of
from triage.cluster.signature import builds_of

Labels = list[Hashable]
_MOST = 64


@dataclass(frozen=True, slots=True)
class PeerFrame:
    """A native frame. `name` is None where GDB would print `??`."""

    name: str | None
    module: str | None
    offset: int | None
    place: str | None
    file: str | None
    line: int | None
    inlined: bool

    @property
    def plain(self) -> str | None:
        """The name in normal form."""
        return None if self.name is None else function_name(self.name)


def frames_of(trace: Trace) -> tuple[PeerFrame, ...]:
    """The native frames of the thread that crashed, innermost first."""
    crash = trace.crash
    builds = builds_of(crash)
    thread = crash.crashed_thread
    found = []
    for frame in thread.frames if thread else ():
        if frame.kind != "native" or len(found) == _MOST:
            continue
        name = frame.function
        if name is not None and re.fullmatch(r"sub_[0-9a-f]+", name):
            name = None
        module = (frame.module or "").rsplit("/", 1)[-1] or None
        found.append(PeerFrame(name, module, frame.offset, place_of(frame, builds), frame.file, frame.line,
                               frame.inlined))  # fmt: skip
    return tuple(found)


# --- exact keys -------------------------------------------------------------------------------------


def top(traces: Sequence[Trace], count: int, *, plain: bool) -> Labels:
    """The innermost `count` names; an unnamed frame by its module."""
    return [tuple((f.plain if plain else f.name) or f"?{f.module}" for f in frames_of(t)[:count]) for t in traces]


def siggen(traces: Sequence[Trace]) -> Labels:
    """Mozilla's package."""
    from siggen.generator import SignatureGenerator  # only where it is installed

    generator = SignatureGenerator()
    found: Labels = []
    for trace in traces:
        frames = []
        for at, frame in enumerate(frames_of(trace)):
            record: dict[str, object] = {"frame": at, "module": frame.module or "", "function": frame.name or ""}
            if frame.offset is not None:
                record["module_offset"] = record["offset"] = hex(frame.offset)
            if frame.file:
                record |= {"file": frame.file, "line": frame.line or 0}
            frames.append(record)
        crash = {"os": "Linux", "crashing_thread": 0, "threads": [{"frames": frames}]}
        found.append(generator.generate(crash).signature)
    return found


_APPORT_SKIP = re.compile(
    r"(g_logv?|g_log|IA__g_log|IA__g_logv|g_assert_warning|IA__g_assert_warning|raise|abort|__libc_message|__assert_fail"
    r"|__GI_raise|__GI_abort|__kernel_vsyscall|__assert_fail_base|__GI___assert_fail|__pthread_kill_\w+|pthread_kill"
    r"|__fortify_fail|__GI___fortify_fail|__chk_fail|__stack_chk_fail|malloc_printerr)"
)


def apport(traces: Sequence[Trace]) -> Labels:
    """Five function names, all known; else the addresses; one symbolic signature owns many of addresses."""
    groups = _Union(len(traces))
    owners: dict[Hashable, int] = {}
    for at, trace in enumerate(traces):
        executable = (trace.crash.executable or "").rsplit("/", 1)[-1]
        signal = trace.crash.signal.number if trace.crash.signal else 0
        frames = list(frames_of(trace))
        while frames and frames[0].name and _APPORT_SKIP.fullmatch(frames[0].name):
            frames.pop(0)
        frames = [f for f in frames if not (f.name and "_sse" in f.name)]
        keys: list[Hashable] = []
        names = [f.name for f in frames[:5]]
        if names and all(names):
            keys.append((executable, signal, tuple(names)))
        real = [f for f in frames_of(trace) if not f.inlined][:15]
        lost = sum(f.place is None for f in real)
        if real and lost <= 0.2 * len(real) and len(real) >= 3:
            keys.append((executable, signal, tuple((f.module, f.offset) for f in real if f.place)))
        for key in keys:
            groups.join(at, owners.setdefault(key, at))
    return groups.labels()


class _Union:
    def __init__(self, count: int) -> None:
        self._of = list(range(count))

    def find(self, one: int) -> int:
        while self._of[one] != one:
            self._of[one] = self._of[self._of[one]]
            one = self._of[one]
        return one

    def join(self, one: int, other: int) -> None:
        self._of[self.find(one)] = self.find(other)

    def labels(self) -> Labels:
        return [self.find(at) for at in range(len(self._of))]


# --- distances between stacks -----------------------------------------------------------------------

Stack = tuple[Hashable, ...]
Distance = Callable[[Stack, Stack], float]

_UNINTERESTING = re.compile(
    r"(__)?(GI_+)?(abort|raise|kill|gsignal|pthread_kill\w*|assert_fail\w*|libc_message|fortify_fail|chk_fail"
    r"|stack_chk_fail|malloc_printerr|mem(cpy|move|set|cmp|chr)\w*|str\w+|w?printf\w*|free|malloc|calloc|realloc"
    r"|libc_start\w+|start_thread|clone3?)|_start|main|operator (new|delete).*|std::.*|__cxa_\w+|__cxxabiv1.*"
)


def clusterfuzz_stacks(traces: Sequence[Trace]) -> list[Stack]:
    """The crash state: the innermost three interesting names."""
    found = []
    for trace in traces:
        names = [f.plain or f"{f.module}" for f in frames_of(trace)]
        found.append(tuple(name for name in names if not _UNINTERESTING.fullmatch(name))[:3])
    return found


def clusterfuzz(a: Stack, b: Stack) -> float:
    """0 for similar: two lines in common in order, or a mean likeness of the lines above .8."""
    if a == b:
        return 0.0
    if _common(a, b) >= 2:
        return 0.0
    pairs = [_ratio(str(one), str(other)) for one, other in zip(a, b, strict=False)]
    return 0.0 if pairs and sum(pairs) / len(pairs) > 0.8 else 1.0


def _common(a: Stack, b: Stack) -> int:
    row = [0] * (len(b) + 1)
    for one in a:
        before = 0
        for j, other in enumerate(b, 1):
            row[j], before = (before + 1 if one == other else max(row[j], row[j - 1])), row[j]
    return row[-1]


@lru_cache(maxsize=200_000)
def _ratio(a: str, b: str) -> float:
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            row[j], before = min(row[j] + 1, row[j - 1] + 1, before + (one != other)), row[j]
    total = len(a) + len(b)
    return (total - row[-1]) / total if total else 1.0


_EXIT = re.compile(
    r"(__)?(GI_+)?(raise|abort|_exit|exit|chk_fail|stack_chk_fail|fortify_fail|assert_fail\w*|libc_message|libc_fatal"
    r"|pthread_kill\w*|malloc_printerr|kill)|__gnu_cxx::__verbose_terminate_handler.*|__cxxabiv1::__terminate.*"
    r"|std::terminate.*|__cxa_throw|zend_mm_panic"
)
_MALLOC = re.compile(r"(__)?(libc_)?(malloc|free|calloc|realloc|_?int_(malloc|free|realloc)|malloc_consolidate)")
_BOTTOM = re.compile(r"_start|main|__libc_start\w*|clone3?|start_thread|__libc_start_call_main")


def satyr_stacks(traces: Sequence[Trace]) -> list[Stack]:
    """Satyr's normal form: cut at how it ended and at malloc, drop the bottom, unify, collapse recursion."""
    return [_satyr(frames_of(trace)) for trace in traces]


def _satyr(frames: Sequence[PeerFrame]) -> Stack:
    cut = 0
    for at, frame in enumerate(frames):
        if frame.plain and (_EXIT.fullmatch(frame.plain) or _MALLOC.fullmatch(frame.plain)):
            cut = at + 1
    kept: list[Hashable] = []
    for frame in frames[cut:]:
        if frame.plain and _BOTTOM.fullmatch(frame.plain):
            continue
        if frame.plain is None and frame.module is None and not kept:
            continue
        key: Hashable = frame.plain if frame.plain else ("??", frame.place)
        if not kept or kept[-1] != key:
            kept.append(key)
    return tuple(kept)


def damerau_levenshtein(a: Stack, b: Stack) -> float:
    """Edits with transpositions over the longer; unnamed frames with equal neighbours pair as equal."""
    a, b = _paired(a, b)
    if not a and not b:
        return 0.0
    rows = [list(range(len(b) + 1))]
    for i, one in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = one != other
            value = min(row[j - 1] + 1, rows[i - 1][j] + 1, rows[i - 1][j - 1] + cost)
            if i > 1 and j > 1 and one == b[j - 2] and a[i - 2] == other:
                value = min(value, rows[i - 2][j - 2] + 1)
            row.append(value)
        rows.append(row)
    return rows[-1][-1] / max(len(a), len(b))


def jaccard(a: Stack, b: Stack) -> float:
    """One minus the common part of the two sets of frames."""
    a, b = _paired(a, b)
    one, other = set(a), set(b)
    return 1.0 - len(one & other) / len(one | other) if one | other else 0.0


def _paired(a: Stack, b: Stack) -> tuple[Stack, Stack]:
    """Satyr gives unnamed frames between the same neighbours one name."""
    places: dict[tuple[Hashable, Hashable], int] = {}
    for at, frame in enumerate(a):
        if _unnamed(frame):
            places.setdefault(_between(a, at), at)
    if not places:
        return a, b
    left, right = list(a), list(b)
    for at, frame in enumerate(b):
        if _unnamed(frame) and (twin := places.get(_between(b, at))) is not None:
            left[twin] = right[at] = ("paired", _between(b, at))
    return tuple(left), tuple(right)


def _unnamed(frame: Hashable) -> bool:
    return isinstance(frame, tuple) and frame[0] == "??"


def _between(stack: Stack, at: int) -> tuple[Hashable, Hashable]:
    before = stack[at - 1] if at else None
    after = stack[at + 1] if at + 1 < len(stack) else None
    return ("??" if _unnamed(before) else before, "??" if _unnamed(after) else after)


def casr_stacks(traces: Sequence[Trace]) -> list[Stack]:
    """CASR compares lines of source, else offsets in modules, never names; known frames are filtered."""
    found = []
    for trace in traces:
        kept = [frame for frame in frames_of(trace) if not (frame.plain and _CASR_IGNORED.fullmatch(frame.plain))]
        keys: list[Hashable] = [
            (f.file, f.line) if f.file and f.line else (f.module, f.offset) if f.module else ("?", at)
            for at, f in enumerate(kept)
        ]
        found.append(_without_cycles(keys))
    return found


_CASR_IGNORED = re.compile(f"{_UNINTERESTING.pattern}|__GI_.*|_IO_.*|__asan.*|operator.*")


def _without_cycles(keys: list[Hashable]) -> Stack:
    changed = True
    while changed:
        changed = False
        for length in range(1, min(8, len(keys) // 2) + 1):
            at = 0
            while at + 2 * length <= len(keys):
                if keys[at : at + length] == keys[at + length : at + 2 * length]:
                    del keys[at + length : at + 2 * length]
                    changed = True
                else:
                    at += 1
    return tuple(keys)


def names_stacks(traces: Sequence[Trace]) -> list[Stack]:
    """Names in normal form; an unnamed frame is a frame of its module."""
    return [_without_cycles([f.plain or f"??{f.module}" for f in frames_of(t)]) for t in traces]


def pdm(depth: float, offset: float) -> Distance:
    """ReBucket's position-dependent model, which CASR uses as well."""

    @cache
    def worth(i: int) -> float:
        return math.exp(-depth * i)

    def distance(a: Stack, b: Stack) -> float:
        if not a or not b:
            return 0.0 if a == b else 1.0
        row = [0.0] * (len(b) + 1)
        for i, one in enumerate(a):
            before = 0.0
            for j, other in enumerate(b):
                value = before + worth(min(i, j)) * math.exp(-offset * abs(i - j)) if one == other else 0.0
                before, row[j + 1] = row[j + 1], max(value, row[j + 1], row[j])
        return 1.0 - row[-1] / sum(worth(i) for i in range(min(len(a), len(b))))

    return distance


def frequencies(stacks: Sequence[Stack]) -> tuple[Mapping[Hashable, int], int]:
    """In how many stacks each frame is, and how many stacks there are."""
    counts: Counter[Hashable] = Counter()
    for stack in stacks:
        counts.update(set(stack))
    return counts, len(stacks)


def tracesim(known: tuple[Mapping[Hashable, int], int], alpha: float, beta: float, gamma: float) -> Distance:
    """Needleman-Wunsch; a frame weighs by place and by a sigmoid of its IDF."""
    counts, total = known

    @cache
    def weight(frame: Hashable, at: int) -> float:
        idf = math.log((total + 1) / (counts.get(frame, 0) + 1))
        return (1.0 / (at + 1) ** alpha) / (1.0 + math.exp(-beta * (idf - 1.0)))

    def distance(a: Stack, b: Stack) -> float:
        if not a or not b:
            return 0.0 if a == b else 1.0
        one = [weight(frame, at) for at, frame in enumerate(a)]
        other = [weight(frame, at) for at, frame in enumerate(b)]
        row = [0.0]
        for w in other:
            row.append(row[-1] - w)
        for i, frame in enumerate(a):
            before, row[0] = row[0], row[0] - one[i]
            for j, twin in enumerate(b):
                if frame == twin:
                    step = before + max(one[i], other[j]) * math.exp(-gamma * abs(i - j))
                else:
                    step = before - one[i] - other[j]
                before, row[j + 1] = row[j + 1], max(step, row[j + 1] - one[i], row[j] - other[j])
        union: dict[Hashable, float] = {}
        for stack, weights in ((a, one), (b, other)):
            for frame, w in zip(stack, weights, strict=True):
                union[frame] = max(union.get(frame, 0.0), w)
        low, high = -(sum(one) + sum(other)), sum(union.values())
        return 1.0 - (row[-1] - low) / (high - low) if high > low else 1.0

    return distance


def fast(known: tuple[Mapping[Hashable, int], int], alpha: float, beta: float, gamma: float) -> Distance:
    """The k-th occurrence of a frame pairs with the k-th; matched less unmatched weight over all weight."""
    counts, total = known

    @cache
    def weight(frame: Hashable, at: int) -> float:
        return (1.0 / (at + 1) ** alpha) * math.exp(-beta * counts.get(frame, 0) / total)

    def distance(a: Stack, b: Stack) -> float:
        places: tuple[defaultdict[Hashable, list[int]], ...] = (defaultdict(list), defaultdict(list))
        for stack, of in zip((a, b), places, strict=True):
            for at, frame in enumerate(stack):
                of[frame].append(at)
        score = every = 0.0
        for frame in {**places[0], **places[1]}:
            one, other = places[0].get(frame, []), places[1].get(frame, [])
            for i, j in zip(one, other, strict=False):
                both = weight(frame, i) + weight(frame, j)
                every += both
                score += both * math.exp(-gamma * abs(i - j))
            for at in (*one[len(other) :], *other[len(one) :]):
                every += weight(frame, at)
                score -= weight(frame, at)
        return (1.0 - score / every) / 2.0 if every else (0.0 if a == b else 1.0)

    return distance


# --- grouping ---------------------------------------------------------------------------------------


class Grouping:
    """All distances between distinct stacks, and the groups at any threshold. linkage as scipy names it."""

    def __init__(self, stacks: Sequence[Stack], distance: Distance, linkage: str) -> None:
        import numpy as np
        from scipy.cluster.hierarchy import linkage as link
        from scipy.spatial.distance import squareform

        distinct = list(dict.fromkeys(stacks))
        self._of = [0] * len(stacks)
        index = {stack: at for at, stack in enumerate(distinct)}
        self._of = [index[stack] for stack in stacks]
        small = np.zeros((len(distinct), len(distinct)))
        for i, one in enumerate(distinct):
            for j in range(i):
                small[i, j] = small[j, i] = max(0.0, distance(one, distinct[j]))
        whole = small[np.ix_(self._of, self._of)]
        np.fill_diagonal(whole, 0.0)
        self._tree = link(squareform(whole, checks=False), linkage)

    def cut(self, threshold: float) -> Labels:
        """The groups whose members are no farther apart than `threshold`."""
        from scipy.cluster.hierarchy import fcluster

        return [int(label) for label in fcluster(self._tree, threshold, "distance")]
