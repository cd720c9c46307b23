"""Where PHP's structures keep their fields, per version: facts measured from DWARF, kept as data.

One file a version and threading mode in `layouts/`, made by `scripts/layouts` for x86-64. On aarch64
only the structures that hold a `struct stat` differ; they are in `aarch64.json`, by minor version.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from importlib import resources
from operator import itemgetter
from typing import Any, NamedTuple

_MINOR = re.compile(r"([1-9][0-9]?\.[0-9]{1,2})(?:\.|\Z)", re.ASCII)
_MEASURED = "x86_64"


class Together(NamedTuple):
    """Several fields of one structure: where the first begins, what unpacks all, and what puts them in order."""

    start: int
    record: struct.Struct
    chosen: Callable[[tuple[int, ...]], tuple[int, ...]]


_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Layout:
    """The offsets of one PHP version and threading mode; all figures in bytes.

    `fields` are the places of all fields, `(offset, size)` by `(structure, field)`.
    """

    def __init__(self, key: str, table: Mapping[str, Any]) -> None:
        self.key = key
        self._table = table
        self.fields: Mapping[tuple[str, str], tuple[int, int]] = {
            (struct, name): (place[0], place[1])
            for struct, entry in table["structs"].items()
            for name, place in entry["fields"].items()
        }
        self._sizes = {struct: int(entry["size"]) for struct, entry in table["structs"].items()}
        self._constants: Mapping[str, int] = table["consts"]
        self._opcodes: Mapping[str, str] = table["opcodes"]
        self._together: dict[tuple[str, tuple[str, ...]], Together | None] = {}

    @property
    def version_id(self) -> int:
        """PHP_VERSION_ID of the headers measured: 80236 for 8.2.36."""
        return self._constants["PHP_VERSION_ID"]

    def place(self, struct: str, name: str) -> tuple[int, int]:
        """`(offset, size)` of a field; KeyError when this version has no such field."""
        return self.fields[struct, name]

    def offset(self, struct: str, name: str) -> int:
        """Offset of a field."""
        return self.fields[struct, name][0]

    def has(self, struct: str, name: str) -> bool:
        """Whether this version has the field."""
        return (struct, name) in self.fields

    def together(self, struct: str, names: tuple[str, ...]) -> Together | None:
        """How to read two fields or more at once, of 1, 2, 4 or 8 bytes; `None` when this version lacks one."""
        key = struct, names
        try:
            return self._together[key]
        except KeyError:
            found = self._together[key] = self._joined(struct, names)
            return found

    def _joined(self, name: str, names: tuple[str, ...]) -> Together | None:
        if not all(self.has(name, field) for field in names):
            return None
        places = {field: self.fields[name, field] for field in names}
        order = sorted(names, key=lambda field: places[field])
        start = end = places[order[0]][0]
        form = "<"
        for offset, size in (places[field] for field in order):
            form += f"{offset - end}x{_FORMATS[size]}"
            end = offset + size
        return Together(start, struct.Struct(form), itemgetter(*map(order.index, names)))

    def size(self, struct: str) -> int:
        """Size of a structure."""
        return self._sizes[struct]

    def places(self, struct: str) -> dict[str, tuple[int, int]] | None:
        """Every field of a structure as `{name: (offset, size)}`; `None` when this version has no such structure."""
        entry = self._table["structs"].get(struct)
        return None if entry is None else {name: (place[0], place[1]) for name, place in entry["fields"].items()}

    def constant(self, name: str) -> int:
        """A constant of the headers; 0 for a flag this version does not know."""
        return self._constants.get(name, 0)

    def opcode_name(self, number: int) -> str | None:
        """The name of a VM instruction: `ZEND_DO_FCALL`."""
        return self._opcodes.get(str(number))

    @cached_property
    def _opcode_numbers(self) -> Mapping[str, int]:
        return {name: int(number) for number, name in self._opcodes.items()}

    def opcode(self, name: str) -> int | None:
        """The number of a VM instruction, `None` when this version lacks it."""
        return self._opcode_numbers.get(name)

    def replacing(self, structs: Mapping[str, Any]) -> Layout:
        """This layout with some structures described anew, each whole, in the form of the layout files."""
        return Layout(self.key, {**self._table, "structs": {**self._table["structs"], **structs}})


@cache
def known_versions() -> tuple[str, ...]:
    """The keys there are, such as `8.2-nts`, oldest first."""
    found = (path.name for path in resources.files(__package__).joinpath("layouts").iterdir())
    return tuple(sorted((name.removesuffix(".json") for name in found if name.endswith(".json")), key=_age))


def _age(key: str) -> tuple[int, int, str]:
    minor, _, mode = key.partition("-")
    first, _, second = minor.partition(".")
    return int(first), int(second), mode


def layout_for(version: str, *, zts: bool, machine: str | None = _MEASURED) -> Layout | None:
    """The layout for a PHP version such as `8.2.36`; `None` for a minor version or machine never measured.

    A neighbour's table is never taken instead: some offsets move back and forth between versions.
    """
    minor = _MINOR.match(version)
    return _load(minor[1], "zts" if zts else "nts", machine) if minor else None


@cache
def _load(minor: str, mode: str, machine: str | None) -> Layout | None:
    key = f"{minor}-{mode}"
    table = _data(f"layouts/{key}.json")
    if table is None or machine not in (_MEASURED, "aarch64"):
        return None
    layout = Layout(key, table)
    return layout if machine == _MEASURED else layout.replacing(_data(f"{machine}.json")[minor])


def _data(name: str) -> Any:
    try:
        return json.loads(resources.files(__package__).joinpath(name).read_text("utf-8"))
    except FileNotFoundError:
        return None  # a version never measured
