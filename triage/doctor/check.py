"""One check and how it came out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How a check came out."""

    PASS = "PASS"  # noqa: S105 — no password
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `says` is a sentence for people, `fix` the exact lines that mend it."""

    name: str
    grade: Grade
    says: str
    fix: tuple[str, ...] = ()
