"""The last words of PHP's allocator, which it prints before it ends the process.

`zend_mm_heap corrupted` goes to standard error and is kept nowhere. But the function that prints
it was handed the text's address, and that address is still in a register or on the stack.
"""

from __future__ import annotations

import struct

from triage.corefile import CoreFile
from triage.runtimes.php.globals import Php
from triage.symbols import Finder

_TEXT = b"zend_mm_heap corrupted\0"
_BELOW, _ABOVE = 8192, 4096


def last_words(core: CoreFile, finder: Finder, php: Php) -> str | None:
    """A sentence about the text and where its address was found; `None` when the process did not say it."""
    signal = core.notes.signal
    if signal is None or signal.name != "SIGABRT":
        return None
    file = finder.locate(php.module).file
    text = file.find(_TEXT) if file is not None else None
    held = core.notes.threads[0].registers
    pointer = held.get("rsp", held.get("sp", 0))
    if text is None or not pointer:
        return None
    wanted = struct.pack("<Q", text + php.module.base)
    for name, value in held.items():
        if struct.pack("<Q", value) == wanted:
            return f'PHP printed "zend_mm_heap corrupted": the register {name} still holds the text\'s address'
    for start, size in ((pointer, _ABOVE), (pointer - _BELOW, _BELOW)):
        raw = core.memory.read(start, size) or b""
        at = raw.find(wanted)
        if at >= 0:
            side = "above" if start == pointer else "below"
            return (
                f'PHP printed "zend_mm_heap corrupted": the address of that text is still on the stack, at '
                f"{start + at:#x} ({side} the stack pointer)"
            )
    return None
