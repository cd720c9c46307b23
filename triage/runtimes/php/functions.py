"""PHP's function records: name, class, file and code of what a frame runs."""

from __future__ import annotations

from typing import NamedTuple

from triage.runtimes.php.reader import Reader

INTERNAL, USER, EVAL = 1, 2, 4
_MOST_OPCODES = 1 << 24
_COMMON = ("type", "fn_flags", "function_name", "scope")
_OF_USER = ("num_args", "T", "opcodes", "last", "last_var", "vars", "filename", "line_start")
_OF_INTERNAL = ("num_args", "arg_info", "handler")


class Function(NamedTuple):
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
        if address % 8:
            return None
        kind, flags, name_at, scope_at, *rest = reader.fields(address, "op_array", *_COMMON, *_OF_USER)
        name = reader.name(name_at)
        if kind not in (INTERNAL, USER, EVAL) or (name_at and not _is_name(name)):
            return None
        scope = scope_at if scope_at and reader.sound(scope_at) else None
        class_name = reader.name(reader.field(scope, "class_entry", "name")) if scope else None
        doubt = "its class is unreadable" if scope_at and class_name is None else None
        if kind == INTERNAL:
            count, names_at, handler = reader.fields(address, "internal_function", *_OF_INTERNAL)
            return Function(
                kind, name, class_name, handler=handler, parameters=count or 0, names_at=names_at, doubt=doubt
            )
        count, slots, first, opcodes, named, names_at, file_at, declared = rest
        file = reader.name(file_at)
        if not file:
            return None  # every function of a script has a file
        return Function(
            kind,
            name,
            class_name,
            file=file,
            opcodes=(first or 0, (first or 0) + min(opcodes or 0, _MOST_OPCODES) * reader.layout.size("op")),
            declared=declared,
            slots=(named or 0) + (slots or 0),
            parameters=count or 0,
            names_at=names_at,
            doubt=doubt,
            closure=bool((flags or 0) & reader.layout.constant("ZEND_ACC_CLOSURE")),
        )


def _is_name(text: str | None) -> bool:
    """Whether a text can name a function: PHP's own rules leave no room for control characters."""
    return bool(text) and min(text or " ") >= " "
