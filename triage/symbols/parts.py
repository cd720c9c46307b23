"""Parts of a function that the compiler laid elsewhere, where no symbol names them.

GCC moves the code that a profile found cold away from its function, into a range of its own with its
own unwind entry. Code that jumps into the middle of another function, several times, is such a part: nothing else
does that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from triage.symbols.elffile import ElfFile

# x86-64: jmp rel32, and the conditional jumps with 32-bit distance (SDM vol. 2, "Jcc").
_JUMP = re.compile(rb"(?:\xe9|\x0f[\x80-\x8f])(?=(.{4}))", re.DOTALL)
_ENOUGH = 3
_MOST_CODE = 64 << 20


@lru_cache(maxsize=32)
def parts(file: ElfFile, name: str) -> frozenset[int]:
    """Starts (ELF addresses) of the parts of the function `name`; empty when there are none or it is not known."""
    symbol = file.symbols.get(name)
    if symbol is None or not symbol.size:
        return frozenset()
    inside = range(symbol.address + 1, symbol.address + symbol.size)
    found = Counter(
        start for source in _jumps(file, inside) if source not in inside and (start := file.function_start(source))
    )
    return frozenset(start for start, count in found.items() if count >= _ENOUGH and start != symbol.address)


def _jumps(file: ElfFile, wanted: range) -> Iterator[int]:
    """Addresses of the jumps that lead into `wanted`."""
    for address, size in file.code():
        raw = file.read(address, min(size, _MOST_CODE)) or b""
        for match in _JUMP.finditer(raw):
            end = match.end() + 4
            if address + end + int.from_bytes(match[1], "little", signed=True) in wanted:
                yield address + match.start()
