"""Which of PHP's structures are read, and their offsets measured from debug information.

`structs.json` names each structure's C type and its fields: those that it has had in every version
since 7.0, and those that only some versions or configurations have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

from triage.symbols.dwarf import DebugTypes

Fields = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A structure that is read: its name in C, the fields it has in every version, and all others."""

    type: str
    always: frozenset[str]
    sometimes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Measured:
    """A structure as measured: its size and `{field: (offset, size)}`, in bytes."""

    size: int
    fields: Fields


@cache
def _data() -> tuple[str, Mapping[str, Any]]:
    text = resources.files(__package__).joinpath("structs.json").read_text("utf-8")
    return sha256(text.encode()).hexdigest()[:16], json.loads(text)


def edition() -> str:
    """A word that changes whenever the list of wanted fields does."""
    return _data()[0]


@cache
def wanted_structures() -> Mapping[str, Wanted]:
    """The structures by the name they have in the layout files."""
    return {
        name: Wanted(entry["type"], _words(entry["always"]), _words(entry["sometimes"]))
        for name, entry in _data()[1]["structs"].items()
    }


def wanted_constants() -> frozenset[str]:
    """Names of the macros whose values are kept."""
    return _words(_data()[1]["constants"])


def _words(lines: list[str]) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


def hand_kept() -> dict[str, dict[str, Any]]:
    """Structures that no header declares, by minor version: the memory manager's.

    They even move within a minor version, so what reads them checks them against the core itself.
    """
    text = resources.files(__package__).joinpath("private.json").read_text("utf-8")
    data: dict[str, dict[str, Any]] = json.loads(text)
    return data


def is_kept_by_hand(struct: str) -> bool:
    """Whether the layout files have this structure from `private.json`."""
    return struct in _hand_kept_names()


@cache
def _hand_kept_names() -> frozenset[str]:
    return frozenset(name for structs in hand_kept().values() for name in structs)


def measure(types: DebugTypes) -> dict[str, Measured]:
    """Each wanted structure that the debug information describes, by its name in the layout files."""
    found = {name: _measured(types, wanted) for name, wanted in sorted(wanted_structures().items())}
    return {name: measured for name, measured in found.items() if measured is not None}


def _measured(types: DebugTypes, wanted: Wanted) -> Measured | None:
    structure = types.structure(wanted.type)
    places = structure.places(sorted(wanted.always | wanted.sometimes)) if structure is not None else None
    return None if structure is None or places is None else Measured(structure.size, places)
