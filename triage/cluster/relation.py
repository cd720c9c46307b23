"""Whether two frames are the same function: by name, by address within one build, by what their code refers to."""

from __future__ import annotations

from typing import NamedTuple

from triage.cluster.shape import Step
from triage.cluster.traits import described, overlap, richness
from triage.cluster.weighing import DIFFERENT, MATCH, UNKNOWN, Weights


class Relation(NamedTuple):
    """How two frames stand to each other, and how sure a match is, from 0 to 1."""

    verdict: str
    sure: float = 1.0
    why: str | None = None


_SAME, _OTHER, _UNTOLD = Relation(MATCH), Relation(DIFFERENT), Relation(UNKNOWN)
_INSTRUCTION = Relation(MATCH, 1.0, "the interpreter's code for an instruction, see there")


def relation(a: Step, b: Step, given: Weights) -> Relation:
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
    if share >= given.alike:
        return Relation(MATCH, min(1.0, common / given.sure), described(a.traits, b.traits))
    if share < given.unlike and part < given.part:
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
