"""Which of PHP's structures are read, and their offsets measured from debug information.

`structs.json` names each structure's C type and its fields: those of all versions together, so a
version has only some of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

from triage.symbols.dwarf import DAMAGE, DebugTypes

Fields = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A structure that is read: its name in C, and the fields."""

    type: str
    fields: tuple[str, ...]


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


def wanted_structures() -> dict[str, Wanted]:
    """The structures by the name they have in the layout files."""
    structs = _data()[1]["structs"]
    return {name: Wanted(entry["type"], tuple(" ".join(entry["fields"]).split())) for name, entry in structs.items()}


def wanted_constants() -> tuple[str, ...]:
    """Names of the macros whose values are kept."""
    return tuple(" ".join(_data()[1]["constants"]).split())


def measure(types: DebugTypes) -> dict[str, Measured]:
    """Each wanted structure that the debug information describes, by its name in the layout files."""
    found = {name: _measured(types, wanted) for name, wanted in sorted(wanted_structures().items())}
    return {name: measured for name, measured in found.items() if measured is not None}


def _measured(types: DebugTypes, wanted: Wanted) -> Measured | None:
    structure = types.structure(wanted.type)
    if structure is None:
        return None
    try:
        places = {field: structure.place(field) for field in sorted(wanted.fields)}
    except DAMAGE:
        return None  # half a structure would be taken for one that lacks fields
    return Measured(structure.size, {field: place for field, place in places.items() if place is not None})
