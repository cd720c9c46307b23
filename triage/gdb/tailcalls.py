"""Whether GDB may show tail calls between a frame and its caller.

A function that ends by jumping to another leaves no frame. Where debug information tells of such jumps GDB makes the
frames up: of the call in the caller it takes the function that is named there, and looks for a way from that one to
the one on the stack. It finds none where the call leads straight to the one on the stack, nor where the call is by a
pointer, since it looks at program counters alone.
"""

from __future__ import annotations

import struct

from triage.corefile import CoreFile
from triage.symbols import Finder
from triage.symbols.imports import imports_of

_DIRECT = b"\xe8"  # call rel32
_BY_SLOT = b"\xff\x15"  # call *rel32(%rip): a function of another file, called without a stub


def may_be(core: CoreFile, finder: Finder, back: int, beginning: int) -> bool:
    """Whether there may be some before the return address `back`, the function called being one that has begun at
    `beginning`. x86-64.
    """
    module = core.module_at(back)
    file = finder.locate(module).file if module is not None else None
    code = file.read(back - module.base - 6, 6) if file is not None and module is not None else None
    if file is None or module is None or code is None:
        return True
    (distance,) = struct.unpack("<i", code[2:])
    if code[1:2] == _DIRECT:
        name = imports_of(file).stub(back + distance - module.base)
        return back + distance != beginning if name is None else not _has(core, finder, beginning, name)
    if code[:2] == _BY_SLOT:
        slot = back + distance - module.base
        name, place = imports_of(file).slot(slot), imports_of(file).pointer(slot)
        if name is not None:
            return not _has(core, finder, beginning, name)
        return place is not None and module.base + place != beginning
    return False


def _has(core: CoreFile, finder: Finder, address: int, name: str) -> bool:
    """Whether the function at an address is exported by that name."""
    module = core.module_at(address)
    file = finder.locate(module).file if module is not None else None
    if file is None or module is None:
        return False
    symbol = file.symbols.get(name)
    return symbol is not None and module.base + symbol.address == address
