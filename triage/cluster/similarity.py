"""How alike two crashes are: their stacks laid side by side, each frame weighed by place and rarity.

The score is matched weight over comparable weight. What only one of the two could name is not
comparable across builds and counts neither for nor against, beyond a small doubt; within one build
unnamed code is compared exactly, by its address.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

from triage.cluster.normalize import instruction, words
from triage.cluster.profile import MOST_STEPS, Profile
from triage.cluster.rarity import rarity
from triage.cluster.shape import BUILT_IN, NATIVE, SCRIPT, Step
from triage.cluster.traits import described, overlap, richness

MATCH, UNKNOWN, GAP, DIFFERENT = "match", "unknown", "gap", "different"


@dataclass(frozen=True, slots=True)
class Weights:
    """What the parts of a comparison weigh.

    `join` is the score from which two are the same, `evidence` the matched weight below which nobody may
    say so. `built_in` is for one built-in function at work in both, `other` against two different ones, `depths`
    what is left of that where any function may die; `foreign` what is left of a frame that only one of two builds
    has. Of functions without a name, `alike` is the share of what they refer to from which they may be one,
    `sure` what they must have in common to be so beyond doubt, `unlike` the share below which they are two, the
    surer the nearer both come to refer to as much as `rich`; `bare` of that where one refers to nothing. The
    values are in weights.json, tuned on known bugs.
    """

    decay: float
    offset: float
    helper: float
    outside: float
    foreign: float
    built_in: float
    other: float
    depths: float
    script: float
    opcode: float
    fault: float
    reach: float
    signal: float
    heap: float
    place: float
    unknown: float
    first: float
    rarest: float
    commonest: float
    alike: float
    sure: float
    unlike: float
    rich: float
    bare: float
    part: float
    swallowed: float
    owner: float
    join: float
    evidence: float


@cache
def weights() -> Weights:
    """The shipped weights."""
    return Weights(**json.loads(resources.files(__package__ or "").joinpath("weights.json").read_text("utf-8")))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of two stacks side by side. `a`, `b` as people read them, `None` on the side that has none.

    `verdict` is `match`, `different`, `gap`, or `unknown`; `weight` what it counts. `why` says what the line is
    about, or by what two functions are one that have no name in common.
    """

    a: str | None
    b: str | None
    verdict: str
    weight: float
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two crashes compared. `score` from 0 to 1; `matched` the weight it rests on."""

    score: float
    matched: float
    rows: tuple[Row, ...]

    def is_same(self, given: Weights) -> bool:
        """Whether this is enough to call them one."""
        return self.score >= given.join and self.matched >= given.evidence


class Relation(NamedTuple):
    """How two frames stand to each other, and how sure a match is, from 0 to 1."""

    verdict: str
    sure: float = 1.0
    why: str | None = None


_SAME, _OTHER, _UNTOLD = Relation(MATCH), Relation(DIFFERENT), Relation(UNKNOWN)
_INSTRUCTION = Relation(MATCH, 1.0, "the interpreter's code for an instruction, see there")


@dataclass(frozen=True, slots=True)
class _Weighed:
    step: Step
    weight: float
    at: int


def compare(a: Profile, b: Profile, given: Weights | None = None) -> Comparison:
    """Lay two crashes side by side."""
    given = given or weights()
    if a.overflow != b.overflow:
        return Comparison(0.0, 0.0, (Row(_kind(a), _kind(b), DIFFERENT, 1.0),))
    rows = [*(_cycles(a, b, given) if a.overflow else _stacks(a, b, given)), *_beside(a, b, given)]
    matched = sum(row.weight for row in rows if row.verdict == MATCH)
    against = sum(row.weight for row in rows if row.verdict in (GAP, DIFFERENT))
    doubt = given.unknown * sum(row.weight for row in rows if row.verdict == UNKNOWN)
    total = matched + against + doubt
    return Comparison(matched / total if total else 0.0, matched, tuple(rows))


def _kind(found: Profile) -> str:
    return "stack overflow" if found.overflow else "no stack overflow"


def text(step: Step) -> str:
    """A step as people read it."""
    if step.name is None:
        return f"{step.module}!sub_{(step.function or '').partition(':')[2]}"
    return f"{step.name}()" if step.kind != NATIVE and "@" not in step.name else step.name


def _stacks(a: Profile, b: Profile, given: Weights) -> Iterator[Row]:
    """Native code, the door to it, and what is outside of the door, from the crash outwards."""
    one, other = _parts(a), _parts(b)
    inside, within = one.inside, other.inside
    if _are_other_builds(a, b) and a.fault == b.fault:
        hidden, unseen = _hidden(inside, within, given), _hidden(within, inside, given)
        yield from (Row(text(w.step), None, UNKNOWN, w.weight, _HIDDEN) for w in _weigh(inside[:hidden], given))
        yield from (Row(None, text(w.step), UNKNOWN, w.weight, _HIDDEN) for w in _weigh(within[:unseen], given))
        inside, within = inside[hidden:], within[unseen:]
    yield from _align(_weigh(inside, given), _weigh(within, given), given, _gap(a, b, given))
    if one.door is not None and other.door is not None:
        against = given.other * (given.depths if _may_be_anywhere(a) or _may_be_anywhere(b) else 1.0)
        yield from _doors(one.door, other.door, given, against)
    yield from _align(
        _weigh(one.outside, given, given.outside), _weigh(other.outside, given, given.outside), given, 1
    )


_HIDDEN = "the other build's code calls it as well, and may have it inlined"
_HIDDEN_FRAMES = 2


def _hidden(long: Sequence[Step], short: Sequence[Step], given: Weights) -> int:
    """How many of the innermost frames another build may have inlined: its innermost function calls them too."""
    for at, caller in enumerate(long[1 : _HIDDEN_FRAMES + 1], 1):
        if short and f"calls {long[at - 1].name}" in short[0].traits:
            if _relation(caller, short[0], given).verdict == MATCH:
                return at
    return 0


_OUTSIDE = 3  # what is farther out than so many frames from the door is another day's page


class _Parts(NamedTuple):
    inside: tuple[Step, ...]
    door: Step | None
    outside: tuple[Step, ...]


def _parts(found: Profile) -> _Parts:
    steps = found.steps[:MOST_STEPS]
    at = next((at for at, step in enumerate(steps) if step.kind != NATIVE), len(steps))
    return _Parts(steps[:at], steps[at] if at < len(steps) else None, steps[at + 1 : at + 1 + _OUTSIDE])


def _gap(a: Profile, b: Profile, given: Weights) -> float:
    """What a frame counts that only one of the two has: another build calls and inlines functions otherwise."""
    return given.foreign if _are_other_builds(a, b) else 1.0


def _are_other_builds(a: Profile, b: Profile) -> bool:
    return a.build is not None and b.build is not None and a.build != b.build


def _may_be_anywhere(found: Profile) -> bool:
    """Whether it died where earlier damage shows, whatever is at work: in the allocator or the collector."""
    return found.heap is not None or any(step.name in words("collector.txt") for step in found.steps[:1])


def _doors(a: Step, b: Step, given: Weights, against: float) -> Iterator[Row]:
    """What the script had called, or was doing: the same in every build. `against` weighs two built-in functions."""
    same = a.name == b.name
    if a.kind != b.kind:
        yield Row(text(a), text(b), DIFFERENT, given.opcode, "a built-in function, and script code by itself")
    elif a.kind == BUILT_IN:
        verdict, weight = (MATCH, 2 * _worth(a, given)) if same else (DIFFERENT, against)
        yield Row(text(a), text(b), verdict, weight, "the built-in function at work")
    else:
        yield Row(text(a), text(b), MATCH if same else DIFFERENT, given.script)
        if a.opcode and b.opcode:
            same = instruction(a.opcode) == instruction(b.opcode)
            yield Row(a.opcode, b.opcode, MATCH if same else DIFFERENT, given.opcode, "what the script was doing")


def _weigh(steps: Sequence[Step], given: Weights, factor: float = 1.0) -> list[_Weighed]:
    """The steps with what they count: the nearer to the crash and the rarer, the more."""
    weighed: list[_Weighed] = []
    at = 0
    for step in steps:
        weighed.append(_Weighed(step, math.exp(-given.decay * at) * _worth(step, given) * factor, at))
        if not step.helper:
            at += 1
    return weighed


def _worth(step: Step, given: Weights) -> float:
    if step.kind == SCRIPT:
        return given.script
    if step.kind == BUILT_IN:
        return given.built_in * _common(step.name or "", given)
    return _common(step.name or "", given) * (given.helper if step.helper else 1.0)


def _common(name: str, given: Weights) -> float:
    """From `commonest`, for a function that is on every stack, to `rarest`."""
    return given.commonest + (given.rarest - given.commonest) * rarity(name)


def _relation(a: Step, b: Step, given: Weights) -> Relation:
    """Whether two frames are the same function, are not, or cannot be told."""
    if a.kind != b.kind:
        return _OTHER
    if a.name is not None and b.name is not None:
        return _SAME if a.name == b.name else _OTHER
    if _are_instructions(a, b):
        return _INSTRUCTION
    if a.function is not None and b.function is not None and _build(a) == _build(b):
        return _SAME if a.function == b.function else _OTHER
    # Not before: behind a call that never returns lies the next function's first instruction.
    if a.place is not None and a.place == b.place:
        return _SAME
    found = _by_traits(a, b, given)
    # What one version has in a file of its own may be part of the program in another, as PHP's json is since 8.0.
    return found if a.module == b.module or found.verdict == MATCH else _OTHER


def _are_instructions(a: Step, b: Step) -> bool:
    """Whether both are the interpreter's code for an instruction: which one, the script's frames tell better."""
    return a.helper and b.helper and a.name is None and b.name is None and a.module == b.module


def _by_traits(a: Step, b: Step, given: Weights) -> Relation:
    """Whether two functions that are not both named are one, by what their code refers to."""
    share, common, part = overlap(a.traits, b.traits)
    if share >= given.alike or (part >= given.part and common >= given.swallowed):
        return Relation(MATCH, min(1.0, common / given.sure), described(a.traits, b.traits))
    if share < given.unlike and not (part >= given.part):
        return Relation(UNKNOWN, 1.0 - _unlike(a, b, given))
    return _UNTOLD


def _unlike(a: Step, b: Step, given: Weights) -> float:
    """How sure it is, from 0 to 1, that two functions which refer to nothing in common are two.

    The surer, the more both refer to. One that refers to nothing may have lost it to a caller; what has a name and
    no traits is known to all builds by that name.
    """
    less, more = sorted(richness(step.traits) / given.rich for step in (a, b))
    if less == 0.0 and (a.name is None) == (b.name is None):
        more *= given.bare
    return min(1.0, less or more)


def _build(step: Step) -> str:
    return (step.function or "").partition(":")[0]


def _align(a: Sequence[_Weighed], b: Sequence[_Weighed], given: Weights, gap: float) -> list[Row]:
    """The alignment that matches most weight, as rows from the crash outwards. `gap` is what a lone frame counts."""
    width = len(b) + 1
    best = [0.0] * ((len(a) + 1) * width)
    verdicts = [[_relation(one.step, other.step, given) for other in b] for one in a]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            here = max(best[(i + 1) * width + j], best[i * width + j + 1])
            gain = _gain(a[i], b[j], verdicts[i][j], given)
            if gain > 0:
                here = max(here, best[(i + 1) * width + j + 1] + gain)
            best[i * width + j] = here
    rows: list[Row] = []
    i = j = 0
    while i < len(a) and j < len(b):
        gain = _gain(a[i], b[j], verdicts[i][j], given)
        here = best[i * width + j]
        if gain > 0 and here == best[(i + 1) * width + j + 1] + gain:
            rows.extend(_pair(a[i], b[j], verdicts[i][j], given))
            i, j = i + 1, j + 1
        elif here == best[(i + 1) * width + j]:
            rows.append(Row(text(a[i].step), None, GAP, a[i].weight * gap))
            i += 1
        else:
            rows.append(Row(None, text(b[j].step), GAP, b[j].weight * gap))
            j += 1
    rows += [Row(text(one.step), None, GAP, one.weight * gap) for one in a[i:]]
    rows += [Row(None, text(other.step), GAP, other.weight * gap) for other in b[j:]]
    return rows


def _gain(a: _Weighed, b: _Weighed, found: Relation, given: Weights) -> float:
    near = _nearness(a, b, given)
    if found.verdict == MATCH:
        return (a.weight + b.weight) * near * max(found.sure, 0.4)
    # To explain two frames by each other is better than to leave both unexplained, and worse than a match.
    return 0.4 * min(a.weight, b.weight) * near if found.verdict == UNKNOWN else 0.0


def _nearness(a: _Weighed, b: _Weighed, given: Weights) -> float:
    """What is left of a match at another distance from the crash."""
    return math.exp(-given.offset * abs(a.at - b.at))


def _pair(a: _Weighed, b: _Weighed, found: Relation, given: Weights) -> list[Row]:
    whole = a.weight + b.weight
    if found.verdict == UNKNOWN:
        # Where it died is what matters: not to know whether that is the same place is a larger doubt.
        doubt = whole * (given.first if a.at == b.at == 0 else 1.0) * found.sure
        rows = [Row(text(a.step), text(b.step), UNKNOWN, doubt)]
        if found.sure < 1.0:
            rows.append(Row(text(a.step), text(b.step), DIFFERENT, whole * (1.0 - found.sure)))
        return rows
    near = _nearness(a, b, given)
    rows = [Row(text(a.step), text(b.step), MATCH, whole * near * found.sure, found.why)]
    if found.sure < 1.0:
        rows.append(Row(text(a.step), text(b.step), UNKNOWN, whole * near * (1.0 - found.sure)))
    if near < 1.0:
        rows.append(Row(text(a.step), text(b.step), DIFFERENT, whole * (1.0 - near)))
    return rows


def _cycles(a: Profile, b: Profile, given: Weights) -> list[Row]:
    """Two recursions: the functions that call each other, in any order."""
    rows: list[Row] = []
    left, lone = list(b.steps), list(a.steps)
    for wanted in (MATCH, UNKNOWN):
        for step in tuple(lone):
            found = ((other, _recurs(step, other, a, b, given)) for other in left)
            twin = max((pair for pair in found if pair[1].verdict == wanted), key=lambda pair: pair[1].sure, default=None)
            if twin is not None:
                lone.remove(step)
                left.remove(twin[0])
                rows += _cycle_pair(step, *twin, given)
    rows += [Row(text(step), None, *_alone(step, a, b, given)) for step in lone]
    return rows + [Row(None, text(step), *_alone(step, b, a, given)) for step in left]


def _alone(step: Step, own: Profile, other: Profile, given: Weights) -> tuple[str, float, str | None]:
    """What a function of a recursion counts that the other has not got, or has inlined."""
    weight = _cycle_worth(step, given)
    if _are_other_builds(own, other) and any(f"calls {step.name}" in one.traits for one in other.steps):
        return UNKNOWN, weight, _HIDDEN
    return GAP, weight * _gap(own, other, given), None


def _recurs(one: Step, other: Step, a: Profile, b: Profile, given: Weights) -> Relation:
    """How two functions of recursions stand to each other.

    A method that the engine calls by a name of its own, as `__get`, is one in another's program as well, where its
    class has another name. Within one build classes tell: that is one shop's program.
    """
    if one.kind == other.kind == SCRIPT and one.name != other.name and _are_other_builds(a, b):
        method = _engine_method(one)
        if method is not None and method == _engine_method(other):
            return Relation(MATCH, 1.0 - given.owner, f"{method}() of another class, which the engine calls")
    return _relation(one, other, given)


def _engine_method(step: Step) -> str | None:
    """The name of a method that the engine itself calls."""
    method = (step.name or "").rpartition("::")[2]
    return method.lower() if "::" in (step.name or "") and method in words("engine.txt") else None


def _cycle_pair(one: Step, other: Step, found: Relation, given: Weights) -> list[Row]:
    whole = _cycle_worth(one, given) + _cycle_worth(other, given)
    rows = [Row(text(one), text(other), found.verdict, whole * found.sure, found.why)]
    if found.sure < 1.0:
        doubt = UNKNOWN if found.verdict == MATCH and one.kind == NATIVE else DIFFERENT
        rows.append(Row(text(one), text(other), doubt, whole * (1.0 - found.sure)))
    return rows


def _cycle_worth(step: Step, given: Weights) -> float:
    """In a recursion the script's own functions are the cause: they count as much as any."""
    return 1.0 if step.kind == SCRIPT else _worth(step, given)


def _beside(a: Profile, b: Profile, given: Weights) -> list[Row]:
    """What tells beside the stack. What one of the two does not know says nothing."""
    rows: list[Row] = []
    if a.signal and b.signal and a.signal != b.signal:
        rows.append(Row(a.signal, b.signal, DIFFERENT, given.signal))
    if a.fault and b.fault and not a.overflow:
        rows.append(_accessed(a, b, given))
    if a.reach and b.reach and not a.overflow:
        rows.append(_reached(a, b, given))
    if a.entry and b.entry:
        rows.append(_entered(a, b, given))
    if (a.heap or b.heap) and not (a.opaque or b.opaque):
        same = bool(a.heap) == bool(b.heap)
        rows.append(Row(a.heap, b.heap, MATCH if same else DIFFERENT, given.heap))
    if a.died_at and a.died_at == b.died_at:
        rows.append(Row(f"died at {a.died_at}", f"died at {b.died_at}", MATCH, given.place))
    return rows


def _entered(a: Profile, b: Profile, given: Weights) -> Row:
    """What the script had called, or was doing, when native code began to go round and round."""
    one, other = a.entry or "", b.entry or ""
    does = [entry.startswith(_INSTRUCTIONS) for entry in (one, other)]
    verdict = MATCH if one == other else DIFFERENT
    said, told = (entry if is_one else f"{entry}()" for entry, is_one in zip((one, other), does, strict=True))
    if not any(does):
        return Row(said, told, verdict, given.built_in * _common(one, given) if one == other else given.other)
    if verdict == DIFFERENT and (_destroys(a) or _destroys(b)):
        verdict = UNKNOWN
    return Row(said, told, verdict, given.opcode, "what the script was doing")


_INSTRUCTIONS = "ZEND_"


def _destroys(found: Profile) -> bool:
    """Whether values are destroyed in a recursion, which any instruction may begin."""
    return any(step.name in words("collector.txt") for step in found.steps)


def _accessed(a: Profile, b: Profile, given: Weights) -> Row:
    verdict, why = MATCH if a.fault == b.fault else DIFFERENT, None
    if verdict == DIFFERENT and _place_of(a.fault) == _place_of(b.fault) and _are_of_one_value(a, b):
        verdict, why = UNKNOWN, _ONE_VALUE
    return Row(a.fault, b.fault, verdict, given.fault, why)


def _place_of(fault: str | None) -> str:
    """`null` or `wild`, of an access."""
    return (fault or "").rpartition(" ")[2]


_ONE_VALUE = "another build may touch another member of one value first"
_VALUES = (frozenset({"0/8", "8/4"}),)


def _are_of_one_value(a: Profile, b: Profile) -> bool:
    """Whether two builds missed members of what may be one value: content and type, or count and kind, of PHP's."""
    return _are_other_builds(a, b) and any(a.reach in value and b.reach in value for value in _VALUES)


def _reached(a: Profile, b: Profile, given: Weights) -> Row:
    """The member of a structure that could not be had: of a large one, another version has it somewhere else."""
    (one, size), (other, width) = _numbers(a.reach or ""), _numbers(b.reach or "")
    verdict = MATCH if (one, size) == (other, width) else DIFFERENT
    why = "how far behind the pointer it reached"
    if verdict == DIFFERENT and size == width and min(one, other) >= _FAR and _are_other_builds(a, b):
        verdict, why = UNKNOWN, "another version has this member somewhere else"
    elif verdict == DIFFERENT and _are_of_one_value(a, b):
        verdict, why = UNKNOWN, _ONE_VALUE
    said, told = (f"{wide} byte{'s' * (wide > 1)} at {far:+#x}" for far, wide in ((one, size), (other, width)))
    return Row(said, told, verdict, given.reach, why)


_FAR = 0x40


def _numbers(reach: str) -> tuple[int, int]:
    far, _, size = reach.partition("/")
    return int(far, 16), int(size)
