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


class Flag(StrEnum):
    """What follows for a cluster from its state and from when, where and in what it crashed.

    `regressed`: it crashed where its fix is rolled out. `awake`: it is ignored no longer, as the condition
    came true. `pending`: it is fixed, and crashes on where the fix is not rolled out yet. `spiking`: it crashed
    much more often in the last day than it uses to. `partial`: of some of its crashes not everything could be read.
    """

    REGRESSED = "regressed"
    AWAKE = "awake"
    PENDING = "pending"
    SPIKING = "spiking"
    PARTIAL = "partial"


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


LANGUAGES = {"php": "PHP", "python": "Python", "perl": "Perl", "ruby": "Ruby"}
"""Interpreters by the name of their runtime, as people write them."""
