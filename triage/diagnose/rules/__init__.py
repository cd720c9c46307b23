"""The rules, in order. Each looks at one kind of evidence and states what the core shows, or stays silent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from triage.diagnose.case import Case
from triage.diagnose.rules.aborts import aborted
from triage.diagnose.rules.accesses import (
    bad_jump,
    forbidden,
    impossible_address,
    misaligned,
    null_pointer,
    wild_access,
)
from triage.diagnose.rules.circumstances import CIRCUMSTANCES
from triage.diagnose.rules.clues import freed_block, impossible_value, ran_off_the_end, wrong_value
from triage.diagnose.rules.damage import heap_damaged, kind_of_damage
from triage.diagnose.rules.judgements import blame, victim_or_cause
from triage.diagnose.rules.sent import limit_reached, signal_sent
from triage.diagnose.rules.setup import SETUP
from triage.diagnose.rules.stack import large_stack_frame, stack_overflow
from triage.diagnose.rules.traps import arithmetic, breakpoint_hit, bus_error, illegal_instruction
from triage.model import Finding

Rule = Callable[[Case], Finding | None]
Judgement = Callable[[Case, Sequence[Finding]], Finding | None]

FAULTS: tuple[Rule, ...] = (
    stack_overflow,
    signal_sent,
    limit_reached,
    aborted,
    illegal_instruction,
    arithmetic,
    breakpoint_hit,
    bus_error,
    bad_jump,
    null_pointer,
    misaligned,
    large_stack_frame,
    impossible_address,
    forbidden,
    wild_access,
)
"""What stopped the process: one answer, the first that speaks, so the more telling one comes first."""

CLUES: tuple[Rule, ...] = (heap_damaged, kind_of_damage, ran_off_the_end, wrong_value, freed_block, impossible_value)
"""What else the memory tells: all that speak."""

AROUND: tuple[Rule, ...] = (*CIRCUMSTANCES, *SETUP)
"""When it happened, and with which files: all that speak."""

JUDGEMENTS: tuple[Judgement, ...] = (victim_or_cause, blame)
"""What follows from all of these."""
