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


class AccessKind(StrEnum):
    """What an instruction does with a place in memory."""

    READ = "read"
    WRITE = "write"
    BOTH = "read and write"
    EXECUTE = "execute"


class Topic(StrEnum):
    """What a finding is about.

    `fault`: what kind of fault stopped the process. `clue`: something telling about the values it used.
    `damage`: memory found damaged. `circumstance`: where in the program's life it happened. `setup`:
    what is wrong with the installed files. `judgement`: what follows from the others.
    """

    FAULT = "fault"
    CLUE = "clue"
    DAMAGE = "damage"
    CIRCUMSTANCE = "circumstance"
    SETUP = "setup"
    JUDGEMENT = "judgement"
