"""The VM's loop, where no symbol names it: the function that all instructions' code lies in.

GCC builds keep the code of every instruction inside of `execute_ex`, and each compiled
instruction points to its own. Several that lie in one function, none of them at its start, tell
which one that is.
"""

from __future__ import annotations

from collections.abc import Iterator

from triage.runtimes.php.reader import Reader
from triage.symbols.elffile import ElfFile

_MOST_FRAMES = 50
_MOST_OPCODES = 40
_ENOUGH = 3
_USER = 2


def loop_start(reader: Reader, file: ElfFile, base: int, current: int | None) -> int | None:
    """The address of the VM's loop; `None` when the instructions do not agree on one."""
    seen: dict[int, set[int]] = {}
    for handler in _handlers(reader, current):
        start = file.function_start(handler - base)
        if start is not None and start + base != handler:
            seen.setdefault(start + base, set()).add(handler)
    found = [start for start, handlers in seen.items() if len(handlers) >= _ENOUGH]
    return found[0] if len(found) == 1 else None


def _handlers(reader: Reader, current: int | None) -> Iterator[int]:
    """The code of the instructions of the functions on the stack."""
    address, size = current, reader.layout.size("op")
    for _ in range(_MOST_FRAMES):
        if not address or not reader.sound(address):
            return
        function = reader.pointer(address, "execute_data", "func")
        if function is not None and reader.field(function, "op_array", "type") == _USER:
            opcodes = reader.field(function, "op_array", "opcodes") or 0
            count = min(reader.field(function, "op_array", "last") or 0, _MOST_OPCODES)
            for at in range(count):
                handler = reader.field(opcodes + at * size, "op", "handler")
                if handler:
                    yield handler
        address = reader.field(address, "execute_data", "prev_execute_data")
