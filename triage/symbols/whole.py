"""A program or library parsed whole, by LIEF: for what only few files need.

It is loaded when it is first needed: its import alone takes half a second and 50 MiB.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lief


def parse(path: Path | str, *, relocations: bool) -> lief.ELF.Binary | None:
    """The file as LIEF reads it, `None` when it cannot."""
    import lief

    lief.logging.disable()  # it would print on stderr what it dislikes about a file
    # So would its bindings.
    warnings.filterwarnings("ignore", message=".* is not a valid TYPE", category=RuntimeWarning)
    config = lief.ELF.ParserConfig()
    config.parse_relocations = relocations
    config.parse_notes = config.parse_overlay = False
    parsed = lief.ELF.parse(str(path), config)
    return parsed if isinstance(parsed, lief.ELF.Binary) else None


def exported(path: Path) -> list[tuple[str, int, int, int]]:
    """`(name, ELF type, address, size)` of what a file without section headers exports: its dynamic segment tells."""
    binary = parse(path, relocations=False)
    # A type that LIEF has no name for comes as a bare number.
    return [
        (symbol.name, int(getattr(symbol.type, "value", symbol.type)), symbol.value, symbol.size)
        for symbol in (binary.symbols if binary is not None else ())
        if symbol.shndx != 0 and symbol.value and isinstance(symbol.name, str)
    ]
