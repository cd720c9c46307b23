"""Where PHP's structures keep their fields, per version: facts measured from DWARF, kept as data.

One file a version and threading mode in `layouts/`, made by `scripts/layouts`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, cached_property
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
        self._opcodes: Mapping[str, str] = table["opcodes"]

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

    def opcode_name(self, number: int) -> str | None:
        """The name of a VM instruction: `ZEND_DO_FCALL`."""
        return self._opcodes.get(str(number))

    @cached_property
    def _opcode_numbers(self) -> Mapping[str, int]:
        return {name: int(number) for number, name in self._opcodes.items()}

    def opcode(self, name: str) -> int | None:
        """The number of a VM instruction, `None` when this version lacks it."""
        return self._opcode_numbers.get(name)


@cache
def known_versions() -> tuple[str, ...]:
    """The keys there are, such as `8.2-nts`, oldest first."""
    found = (path.name for path in resources.files(__package__).joinpath("layouts").iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in found if name.endswith(".json")))


@cache
def layout_for(version: str, *, zts: bool) -> Layout | None:
    """The layout for a PHP version such as `8.2.36`; `None` for a minor version never measured.

    A neighbour's table is never taken instead: some offsets move back and forth between versions.
    """
    key = f"{'.'.join(version.split('.')[:2])}-{'zts' if zts else 'nts'}"
    if key not in known_versions():
        return None
    text = resources.files(__package__).joinpath("layouts", f"{key}.json").read_text("utf-8")
    return Layout(key, json.loads(text))
