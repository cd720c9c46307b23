"""Words with a fixed choice: how sure, how whole, in which state."""

from __future__ import annotations

from enum import StrEnum


class Confidence(StrEnum):
    """How sure a statement is."""

    PROVED = "proved"
    LIKELY = "likely"
    GUESS = "guess"


class Status(StrEnum):
    """How much of a core could be read."""

    OK = "ok"
    PARTIAL = "partial"
    ERROR = "error"


class Symbols(StrEnum):
    """What names a module's file offers, and whether the file is the one that crashed."""

    FULL = "full"
    DYNAMIC = "dynamic"
    NONE = "none"
    MISSING = "missing"
    MISMATCH = "mismatch"


class State(StrEnum):
    """What a person decided about a cluster."""

    NEW = "new"
    KNOWN = "known"
    IGNORED = "ignored"
    FIXED = "fixed"


class Role(StrEnum):
    """What kind of activation an interpreter frame is."""

    USER = "user"
    INTERNAL = "internal"
    INCLUDE = "include"
    EVAL = "eval"
    MAIN = "main"
