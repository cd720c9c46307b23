"""What the parts of a comparison weigh, and the lines that it is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

from triage.cluster.profile import Profile
from triage.cluster.rarity import rarity
from triage.cluster.shape import BUILT_IN, NATIVE, SCRIPT, Step

MATCH, UNKNOWN, GAP, DIFFERENT = "match", "unknown", "gap", "different"
HIDDEN = "the other build's code calls it as well, and may have it inlined"


@dataclass(frozen=True, slots=True)
class Weights:
    """What the parts of a comparison weigh.

    `join` is the score from which two are the same, `evidence` the matched weight below which nobody may
    say so. `built_in` is for one built-in function at work in both, `other` against two different ones, `depths`
    what is left of that where any function may die; `foreign` what is left of a frame that only one of two builds
    has. Of functions without a name, `alike` is the share of what they refer to from which they may be one,
    `sure` what they must have in common to be so beyond doubt, `unlike` the share below which they are two, the
    surer the nearer both come to refer to as much as `rich`; `bare` of that where one refers to nothing, and none
    of it where the one has at least `part` of what the other refers to, which may be inlined there. `owner` is what
    the class counts, of a method that the engine calls in a recursion. The values are in weights.json, tuned on
    known bugs.
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


def text(step: Step) -> str:
    """A step as people read it."""
    if step.name is None:
        return f"{step.module}!sub_{(step.function or '').partition(':')[2]}"
    return f"{step.name}()" if step.kind != NATIVE and "@" not in step.name else step.name


def worth(step: Step, given: Weights) -> float:
    if step.kind == SCRIPT:
        return given.script
    if step.kind == BUILT_IN:
        return given.built_in * common(step.name or "", given)
    return common(step.name or "", given) * (given.helper if step.helper else 1.0)


def common(name: str, given: Weights) -> float:
    """From `commonest`, for a function that is on every stack, to `rarest`."""
    return given.commonest + (given.rarest - given.commonest) * rarity(name)


def of_lone(a: Profile, b: Profile, given: Weights) -> float:
    """What a frame counts that only one of the two has: another build calls and inlines functions otherwise."""
    return given.foreign if are_other_builds(a, b) else 1.0


def are_other_builds(a: Profile, b: Profile) -> bool:
    return a.build is not None and b.build is not None and a.build != b.build
