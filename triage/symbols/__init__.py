"""Files behind the modules of a core: found by build-id, read for names and function starts."""

from triage.symbols.elffile import ElfFile, Symbol
from triage.symbols.finder import Finder, Located

__all__ = ["ElfFile", "Finder", "Located", "Symbol"]
