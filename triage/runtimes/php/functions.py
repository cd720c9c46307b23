"""PHP's function records: name, class, file and code of what a frame runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from triage.runtimes.php.layout import Layout
from triage.runtimes.php.reader import Reader

INTERNAL, USER, EVAL = 1, 2, 4
_MOST_OPCODES = 1 << 24
_RECORDS = ("op_array", "internal_function")


@dataclass(frozen=True, slots=True)
class Function:
    """A zend_function. `opcodes` is the address range of a user function's code.

    `declared` is the line a user function begins at; `closure` tells a closure from a named one;
    `slots` is how many variables and temporaries each call of a user function has, `parameters` how
    many it declares and `names_at` where the table of their names is (of a user function: of all
    variables), `doubt` what of the record could not be read.
    """

    type: int
    name: str | None
    class_name: str | None
    file: str | None = None
    opcodes: tuple[int, int] = (0, 0)
    handler: int | None = None
    declared: int | None = None
    closure: bool = False
    slots: int = 0
    parameters: int = 0
    names_at: int | None = None
    doubt: str | None = None
    broken: bool = False


@lru_cache(maxsize=32)
def _size(layout: Layout) -> int:
    """Bytes up to the end of the last field of a function record that is measured."""
    return max(sum(place) for (struct, _), place in layout.fields.items() if struct in _RECORDS)


class Functions:
    """Reads function records, each once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[int, Function] = {}
        self._size = _size(reader.layout)

    def at(self, address: int) -> Function:
        """The record at `address`; one marked `broken` when there is no sound one."""
        if address not in self._known:
            self._known[address] = self._read(address) or Function(0, None, None, broken=True)
        return self._known[address]

    def _read(self, address: int) -> Function | None:
        reader = self._reader
        field = self._fields(address)
        kind = field("op_array", "type")
        name_at = field("op_array", "function_name")
        name = reader.name(name_at)
        if kind not in (INTERNAL, USER, EVAL) or (name_at and not _is_name(name)):
            return None
        scope_at = field("op_array", "scope")
        scope = scope_at if scope_at and reader.sound(scope_at) else None
        class_name = reader.name(reader.field(scope, "class_entry", "name")) if scope else None
        doubt = "its class is unreadable" if scope_at and class_name is None else None
        if kind == INTERNAL:
            return Function(
                kind,
                name,
                class_name,
                handler=field("internal_function", "handler"),
                parameters=field("internal_function", "num_args") or 0,
                names_at=field("internal_function", "arg_info"),
                doubt=doubt,
            )
        file = reader.name(field("op_array", "filename"))
        if not file:
            return None  # every function of a script has a file
        first, count, flags = (field("op_array", name) or 0 for name in ("opcodes", "last", "fn_flags"))
        return Function(
            kind,
            name,
            class_name,
            file=file,
            opcodes=(first, first + min(count, _MOST_OPCODES) * reader.layout.size("op")),
            declared=field("op_array", "line_start"),
            slots=(field("op_array", "last_var") or 0) + (field("op_array", "T") or 0),
            parameters=field("op_array", "num_args") or 0,
            names_at=field("op_array", "vars"),
            doubt=doubt,
            closure=bool(flags & reader.layout.constant("ZEND_ACC_CLOSURE")),
        )

    def _fields(self, address: int) -> Callable[[str, str], int | None]:
        """What gives the fields of the record at `address`: out of one read, where it can be read whole."""
        reader, places = self._reader, self._reader.layout.fields
        raw = reader.memory.read(address, self._size) if address % 8 == 0 else None
        if raw is None:
            return lambda struct, name: reader.field(address, struct, name) if address % 8 == 0 else None

        def field(struct: str, name: str) -> int | None:
            place = places.get((struct, name))
            return int.from_bytes(raw[place[0] : place[0] + place[1]], "little") if place is not None else None

        return field


def _is_name(text: str | None) -> bool:
    """Whether a text can name a function: PHP's own rules leave no room for control characters."""
    return bool(text) and min(text or " ") >= " "
