"""The arguments of a call, as they are in its frame now (a function may have changed them since).

PHP keeps the declared parameters in the frame's first variables, and what was passed beyond them
behind all variables and temporaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from triage.model import Argument
from triage.runtimes.php.reader import Reader, Value
from triage.runtimes.php.values import Values

MOST = 64
_INTERNAL = 1
_ZVAL = 16
_CONST, _VARIABLES = 1, (2, 4, 8)  # operand types: a literal; a temporary, a result, a named variable


class _Declared(NamedTuple):
    """A function's kind, its number of declared parameters and of all variables, and the names read so far."""

    kind: int | None
    declared: int
    variables: int
    names: dict[int, str | None]


class Arguments:
    """Reads arguments. `values` adds previews; without it there are types only."""

    def __init__(self, reader: Reader, *, values: bool) -> None:
        self._reader = reader
        self._values = Values(reader)
        self._with_values = values
        self._known: dict[int, _Declared] = {}

    def of(self, frame: int, function: int, count: int) -> tuple[Argument, ...]:
        """The arguments of the execute_data at `frame`, at most 64, in the order they were passed."""
        return tuple(self._each(frame, function, count)) if count else ()

    def _each(self, frame: int, function: int, count: int) -> Iterator[Argument]:
        reader = self._reader
        told = self._declared(function)
        first = frame + reader.layout.constant("ZEND_CALL_FRAME_SLOT") * _ZVAL
        for at in range(min(count, MOST)):
            beyond = told.kind != _INTERNAL and at >= told.declared
            value = reader.value(first + (told.variables + at - told.declared if beyond else at) * _ZVAL)
            if not beyond and at not in told.names:
                told.names[at] = self._name(function, told.kind, at, told.declared)
            yield self._argument(None if beyond else told.names[at], value)

    def _declared(self, function: int) -> _Declared:
        """What the function itself says of its arguments, read once."""
        if function not in self._known:
            field = self._reader.field
            kind, count = field(function, "op_array", "type"), field(function, "op_array", "num_args") or 0
            self._known[function] = _Declared(kind, count, self._variables(function), {})
        return self._known[function]

    def without_frame(self, frame: int, opline: int, function: int, count: int) -> tuple[Argument, ...]:
        """The arguments of a function called without a frame (PHP 8.4 and newer): the instruction's operands."""
        size = self._reader.layout.size("op")
        places = [(opline, "op1"), (opline, "op2"), (opline + size, "op1")][:count]
        return tuple(
            self._argument(self._name(function, _INTERNAL, at, count), self._operand(frame, *place))
            for at, place in enumerate(places)
        )

    def _operand(self, frame: int, opline: int, which: str) -> Value | None:
        """The value an instruction's operand stands for: a literal behind the code, or a variable of the frame."""
        reader = self._reader
        kind = reader.field(opline, "op", f"{which}_type")
        raw = reader.field(opline, "op", which)
        if kind is None or raw is None:
            return None
        if kind == _CONST:
            return reader.value(opline + (raw - (1 << 32) if raw >> 31 else raw))
        return reader.value(frame + raw) if kind in _VARIABLES else None

    def _argument(self, name: str | None, value: Value | None) -> Argument:
        preview = self._values.preview(name, value) if self._with_values else None
        return Argument(name=name, type=self._values.type(value), value=preview)

    def _variables(self, function: int) -> int:
        """How many variables and temporaries a frame of this user function has."""
        reader = self._reader
        named = reader.field(function, "op_array", "last_var") or 0
        return named + (reader.field(function, "op_array", "T") or 0)

    def _name(self, function: int, kind: int | None, at: int, declared: int) -> str | None:
        reader = self._reader
        if kind == _INTERNAL:
            table = reader.pointer(function, "internal_function", "arg_info") if at < declared else None
            entry = table + at * reader.layout.size("arg_info") if table else None
            return reader.c_string(reader.number(entry), 256) if entry else None
        table = reader.pointer(function, "op_array", "vars")
        return reader.string(reader.number(table + at * 8)) if table else None
