"""What tells two crashes apart beside their stacks: signal, allocator, what could not be had, what began it."""

from __future__ import annotations

from triage.cluster.normalize import words
from triage.cluster.profile import Profile
from triage.cluster.weighing import DIFFERENT, MATCH, UNKNOWN, Row, Weights, are_other_builds, common


def beside(a: Profile, b: Profile, given: Weights) -> list[Row]:
    """What tells beside the stack. What one of the two does not know says nothing."""
    rows: list[Row] = []
    if a.signal and b.signal and a.signal != b.signal:
        rows.append(Row(a.signal, b.signal, DIFFERENT, given.signal))
    if a.fault and b.fault and not a.overflow:
        rows.append(Row(a.fault, b.fault, MATCH if a.fault == b.fault else DIFFERENT, given.fault))
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
    same = one == other
    if not _is_instruction(one) and not _is_instruction(other):
        weight = given.built_in * common(one, given) if same else given.other
        return Row(f"{one}()", f"{other}()", MATCH if same else DIFFERENT, weight)
    verdict = MATCH if same else UNKNOWN if _destroys(a) or _destroys(b) else DIFFERENT
    said, told = (entry if _is_instruction(entry) else f"{entry}()" for entry in (one, other))
    why = "any instruction may begin to destroy a value" if verdict == UNKNOWN else "what the script was doing"
    return Row(said, told, verdict, given.opcode, why)


def _is_instruction(entry: str) -> bool:
    return entry.startswith(_INSTRUCTIONS)


_INSTRUCTIONS = "ZEND_"


def _destroys(found: Profile) -> bool:
    """Whether values are destroyed in a recursion, which any instruction may begin."""
    return any(step.name in words("collector.txt") for step in found.steps)


def _reached(a: Profile, b: Profile, given: Weights) -> Row:
    """The member of a structure that could not be had: of a large one, another version has it somewhere else."""
    (one, size), (other, width) = _numbers(a.reach or ""), _numbers(b.reach or "")
    verdict = MATCH if (one, size) == (other, width) else DIFFERENT
    why = "how far behind the pointer it reached"
    if verdict == DIFFERENT and size == width and min(one, other) >= _FAR and are_other_builds(a, b):
        verdict, why = UNKNOWN, "another version has this member somewhere else"
    said, told = (f"{wide} byte{'s' * (wide > 1)} at {far:+#x}" for far, wide in ((one, size), (other, width)))
    return Row(said, told, verdict, given.reach, why)


_FAR = 0x40


def _numbers(reach: str) -> tuple[int, int]:
    far, _, size = reach.partition("/")
    return int(far, 16), int(size)
