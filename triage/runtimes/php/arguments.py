"""The arguments of a call, as they are in its frame now (a function may have changed them since).

PHP keeps the declared parameters in the frame's first variables, and what was passed beyond them
behind all variables and temporaries.
"""

from __future__ import annotations

from triage.model import Argument
from triage.runtimes.php.functions import INTERNAL, Function
from triage.runtimes.php.reader import Reader, Value
from triage.runtimes.php.values import Values

MOST = 64
_ZVAL = 16
_CONST, _VARIABLES = 1, (2, 4, 8)  # operand types: a literal; a temporary, a result, a named variable


class Arguments:
    """Reads arguments. `values` adds previews; without it there are types only."""

    def __init__(self, reader: Reader, *, values: bool) -> None:
        self._reader = reader
        self._values = Values(reader)
        self._with_values = values
        self._first = reader.layout.constant("ZEND_CALL_FRAME_SLOT") * _ZVAL
        self._names: dict[tuple[int, int], str | None] = {}

    def of(self, frame: int, function: Function, count: int) -> tuple[Argument, ...]:
        """The arguments of the execute_data at `frame`, at most 64, in the order they were passed."""
        count = min(count, MOST)
        if not count:
            return ()
        own = count if function.type == INTERNAL else min(count, function.parameters)
        first, beyond = frame + self._first, function.slots - function.parameters
        values = self._reader.values(first, own) if own else []
        if count > own:
            values += self._reader.values(first + (beyond + own) * _ZVAL, count - own)
        name, argument = self._name, self._argument
        return tuple([argument(name(function, at) if at < own else None, value) for at, value in enumerate(values)])

    def without_frame(self, frame: int, opline: int, function: Function, count: int) -> tuple[Argument, ...]:
        """The arguments of a function called without a frame (PHP 8.4 and newer): the instruction's operands."""
        size = self._reader.layout.size("op")
        places = [(opline, "op1"), (opline, "op2"), (opline + size, "op1")][:count]
        return tuple(
            self._argument(self._name(function, at), self._operand(frame, *place)) for at, place in enumerate(places)
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

    def _name(self, function: Function, at: int) -> str | None:
        """The name of a parameter, `None` where it has none."""
        table = function.names_at
        if not table or (function.type == INTERNAL and at >= function.parameters):
            return None
        place = table, at
        if place not in self._names:
            self._names[place] = self._read_name(table, at, internal=function.type == INTERNAL)
        return self._names[place]

    def _read_name(self, table: int, at: int, *, internal: bool) -> str | None:
        reader = self._reader
        place = at * (reader.layout.size("arg_info") if internal else 8)
        raw = reader.memory.read(table, place + 8) if table % 8 == 0 else None
        if raw is None:
            return None
        text_at = int.from_bytes(raw[place:], "little")
        return reader.c_string(text_at, 256) if internal else reader.string(text_at)
