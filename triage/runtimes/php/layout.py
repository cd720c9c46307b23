"""Where PHP's structures keep their fields, per version: facts measured from DWARF, kept as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any


class Layout:
    """The offsets of one PHP version and threading mode; all figures in bytes."""

    def __init__(self, key: str, table: Mapping[str, Any]) -> None:
        self.key = key
        self._fields: dict[tuple[str, str], tuple[int, int]] = {
            (struct, name): (place[0], place[1])
            for struct, entry in table["structs"].items()
            for name, place in entry["fields"].items()
        }
        self._sizes = {struct: int(entry["size"]) for struct, entry in table["structs"].items()}
        self._constants: Mapping[str, int] = table["consts"]

    @property
    def version_id(self) -> int:
        """PHP_VERSION_ID of the headers measured: 80236 for 8.2.36."""
        return self._constants["PHP_VERSION_ID"]

    def place(self, struct: str, name: str) -> tuple[int, int]:
        """`(offset, size)` of a field; KeyError when this version has no such field."""
        return self._fields[struct, name]

    def offset(self, struct: str, name: str) -> int:
        """Offset of a field."""
        return self._fields[struct, name][0]

    def has(self, struct: str, name: str) -> bool:
        """Whether this version has the field."""
        return (struct, name) in self._fields

    def size(self, struct: str) -> int:
        """Size of a structure."""
        return self._sizes[struct]

    def constant(self, name: str) -> int:
        """A constant of the headers; 0 for a flag this version does not know."""
        return self._constants.get(name, 0)


@cache
def _tables() -> Mapping[str, Any]:
    text = resources.files(__package__).joinpath("layouts.json").read_text("utf-8")
    tables: Mapping[str, Any] = json.loads(text)
    return tables


def known_versions() -> tuple[str, ...]:
    """The keys there are, such as `8.2-nts`."""
    return tuple(_tables())


@cache
def layout_for(version: str, *, zts: bool) -> Layout | None:
    """The layout for a PHP version such as `8.2.36`; `None` for a minor version never measured.

    A neighbour's table is never taken instead: some offsets move back and forth between versions.
    """
    minor = ".".join(version.split(".")[:2])
    key = f"{minor}-{'zts' if zts else 'nts'}"
    table = _tables().get(key)
    return Layout(key, table) if table is not None else None
