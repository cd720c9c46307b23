"""PHP's function records: name, class, file and code of what a frame runs."""

from __future__ import annotations

from dataclasses import dataclass

from triage.runtimes.php.reader import Reader

INTERNAL, USER, EVAL = 1, 2, 4
_MOST_OPCODES = 1 << 24


@dataclass(frozen=True, slots=True)
class Function:
    """A zend_function. `opcodes` is the address range of a user function's code.

    `declared` is the line a user function begins at; `closure` tells a closure from a named one;
    `slots` is how many variables and temporaries each call of a user function has, `doubt` what
    of the record could not be read.
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
    doubt: str | None = None
    broken: bool = False


class Functions:
    """Reads function records, each once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[int, Function] = {}

    def at(self, address: int) -> Function:
        """The record at `address`; one marked `broken` when there is no sound one."""
        if address not in self._known:
            self._known[address] = self._read(address) or Function(0, None, None, broken=True)
        return self._known[address]

    def _read(self, address: int) -> Function | None:
        reader = self._reader
        kind = reader.field(address, "op_array", "type") if address % 8 == 0 else None
        name_at = reader.field(address, "op_array", "function_name")
        name = reader.name(name_at)
        if kind not in (INTERNAL, USER, EVAL) or (name_at and not _is_name(name)):
            return None
        scope_at = reader.field(address, "op_array", "scope")
        scope = reader.pointer(address, "op_array", "scope")
        class_name = reader.name(reader.field(scope, "class_entry", "name")) if scope else None
        doubt = "its class is unreadable" if scope_at and class_name is None else None
        if kind == INTERNAL:
            handler = reader.field(address, "internal_function", "handler")
            return Function(kind, name, class_name, handler=handler, doubt=doubt)
        file = reader.name(reader.field(address, "op_array", "filename"))
        if not file:
            return None  # every function of a script has a file
        first = reader.field(address, "op_array", "opcodes") or 0
        count = reader.field(address, "op_array", "last") or 0
        flags = reader.field(address, "op_array", "fn_flags") or 0
        return Function(
            kind,
            name,
            class_name,
            file=file,
            opcodes=(first, first + min(count, _MOST_OPCODES) * reader.layout.size("op")),
            declared=reader.field(address, "op_array", "line_start"),
            slots=(reader.field(address, "op_array", "last_var") or 0)
            + (reader.field(address, "op_array", "T") or 0),
            doubt=doubt,
            closure=bool(flags & reader.layout.constant("ZEND_ACC_CLOSURE")),
        )


def _is_name(text: str | None) -> bool:
    """Whether a text can name a function: PHP's own rules leave no room for control characters."""
    return bool(text) and min(text or " ") >= " "
