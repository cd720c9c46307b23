"""A sentence and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from triage.model import Confidence


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a page. `evidence` is never empty; `commands` are to be run, `undo` takes them back."""

    text: str
    evidence: tuple[str, ...]
    confidence: Confidence | None = None
    commands: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    outcomes: tuple[tuple[str, str], ...] = ()
    control: tuple[str, ...] = ()
