"""What a rule may look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from triage.corefile.protocol import AddressSpace
from triage.model import Runtime, Signal, Thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One crash before its findings. `stack_pointer` is that of the thread that crashed."""

    signal: Signal | None
    pid: int | None
    registers: Mapping[str, int]
    stack_pointer: int | None
    instruction: str | None
    memory: AddressSpace
    thread: Thread | None
    runtime: Runtime | None
    abort_message: str | None
