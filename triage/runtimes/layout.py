"""Where an interpreter's structures keep their fields: tables measured from its headers, kept as data.

A table is one JSON file in the `layouts/` folder of an interpreter: `{"version": KEY, "consts": {NAME: VALUE},
"structs": {NAME: {"size": BYTES, "fields": {FIELD: [OFFSET, SIZE]}}}}`. `donor.py` makes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

Place = tuple[int, int]


class Layout:
    """One version's structures. Offsets and sizes in bytes."""

    def __init__(
        self,
        key: str,
        places: Mapping[tuple[str, str], Place],
        sizes: Mapping[str, int],
        constants: Mapping[str, int],
    ) -> None:
        self.key = key
        self._places = dict(places)
        self._sizes = dict(sizes)
        self._constants = constants

    def has(self, struct: str, field: str) -> bool:
        """Whether this version has the field."""
        return (struct, field) in self._places

    def place(self, struct: str, field: str) -> Place:
        """`(offset, size)` of a field; KeyError when this version has no such field."""
        return self._places[struct, field]

    def offset(self, struct: str, field: str) -> int:
        """Offset of a field; KeyError when this version has no such field."""
        return self._places[struct, field][0]

    def size(self, struct: str) -> int:
        """Size of a structure; KeyError when this version has no such structure."""
        return self._sizes[struct]

    def constant(self, name: str) -> int | None:
        """A macro's or an enumerator's value, `None` when this version lacks it."""
        return self._constants.get(name)

    def moved(self, offsets: Mapping[tuple[str, str], int]) -> Layout:
        """This layout with some fields elsewhere; a field keeps its size."""
        places = {key: (offsets.get(key, place[0]), place[1]) for key, place in self._places.items()}
        return Layout(self.key, places, self._sizes, self._constants)


@cache
def load(package: str, key: str) -> Layout | None:
    """The layout `KEY` of the interpreter whose folder is `package`; `None` when it was never measured."""
    try:
        text = resources.files(package).joinpath("layouts", f"{key}.json").read_text("utf-8")
    except FileNotFoundError:
        return None
    table: Mapping[str, Any] = json.loads(text)
    places = {
        (struct, field): (place[0], place[1])
        for struct, entry in table["structs"].items()
        for field, place in entry["fields"].items()
    }
    sizes = {struct: entry["size"] for struct, entry in table["structs"].items()}
    return Layout(key, places, sizes, table["consts"])


@cache
def known(package: str) -> tuple[str, ...]:
    """The keys that were measured, oldest version first."""
    names = (path.name for path in resources.files(package).joinpath("layouts").iterdir())
    return tuple(sorted((name.removesuffix(".json") for name in names if name.endswith(".json")), key=_age))


def _age(key: str) -> tuple[int, int, str]:
    first, _, rest = key.partition(".")
    digits = rest.rstrip("abcdefghijklmnopqrstuvwxyz-")
    return int(first), int(digits or 0), rest
