"""Names for PHP's static functions, from PHP's own tables.

A stripped php names almost nothing, but the process itself knows which machine code stands
behind `array_map()`: EG(function_table), each internal class's function_table and each
extension's life-cycle pointers hold the addresses. 2,000 names in a few dozen milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar, overload

from triage.runtimes.php.extensions import Extension
from triage.runtimes.php.reader import Reader

T = TypeVar("T")
INTERNAL = 1
INTERNAL_CLASS = 1
LIFE_CYCLE = {
    "module_startup_func": "zm_startup",
    "module_shutdown_func": "zm_shutdown",
    "request_startup_func": "zm_activate",
    "request_shutdown_func": "zm_deactivate",
    "info_func": "zm_info",
}


IN_DOUBT = "?"
"""In place of a name: whether there is one cannot be told without looking at all functions."""


class Names(Mapping[int, str]):
    """Names by absolute start address; `whole` is asked where `found` is in doubt, `others` where it has none."""

    def __init__(self, found: Mapping[int, str], whole: Mapping[int, str], others: Mapping[int, str]) -> None:
        self._found = found
        self._whole = whole
        self._others = others

    @overload
    def get(self, address: int, /) -> str | None: ...

    @overload
    def get(self, address: int, default: str | T, /) -> str | T: ...

    def get(self, address: int, default: str | T | None = None, /) -> str | T | None:
        found = self._found.get(address)
        if found == IN_DOUBT:
            found = self._whole.get(address)
        return self._others.get(address, default) if found is None else found

    def __getitem__(self, address: int) -> str:
        found = self.get(address)
        if found is None:
            raise KeyError(address)
        return found

    def __iter__(self) -> Iterator[int]:
        return iter({**self._found, **self._others})

    def __len__(self) -> int:
        return len({**self._found, **self._others})


def native_names(
    reader: Reader, functions: int | None, classes: int | None, extensions: Sequence[Extension]
) -> dict[int, str]:
    """Names by absolute start address: `zif_array_map`, `zim_PDO_query`, `zm_startup_redis`.

    The names are those PHP's source gives them (PHP_FUNCTION, PHP_METHOD, PHP_MINIT_FUNCTION).
    """
    names: dict[int, str] = {}
    for extension in extensions:
        for field, prefix in LIFE_CYCLE.items():
            address = reader.field(extension.entry, "module_entry", field)
            if address:
                names.setdefault(address, f"{prefix}_{extension.name.lower()}")
    for address, name in _functions(reader, functions, "zif"):
        names.setdefault(address, name)
    for class_name, table in _classes(reader, classes):
        for address, name in _functions(reader, table, f"zim_{class_name}"):
            names.setdefault(address, name)
    return names


def _functions(reader: Reader, table: int | None, prefix: str) -> Iterator[tuple[int, str]]:
    place = reader.layout.offset
    name_at, handler_at = place("internal_function", "function_name"), place("internal_function", "handler")
    read, string = reader.memory.read, reader.string
    for target in reader.payloads(table) if table else ():
        record = read(target, handler_at + 8) if target % 8 == 0 else None  # one read instead of three
        if record is None or record[0] != INTERNAL:
            continue
        handler = int.from_bytes(record[handler_at:], "little")
        name = string(int.from_bytes(record[name_at : name_at + 8], "little"))
        if handler and name:
            yield handler, f"{prefix}_{name}"


def _classes(reader: Reader, classes: int | None) -> Iterator[tuple[str, int]]:
    for entry in reader.payloads(classes) if classes else ():
        if not reader.sound(entry) or reader.field(entry, "class_entry", "type") != INTERNAL_CLASS:
            continue
        name = reader.string(reader.field(entry, "class_entry", "name"))
        if name:
            yield name.replace("\\", "_"), entry + reader.layout.offset("class_entry", "function_table")
