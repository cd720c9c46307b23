"""The data of PHP and its extensions, by PHP's own number for each: what the loader or they wrote to."""

from __future__ import annotations

from triage.corefile import CoreFile
from triage.corefile.elf import PF_X
from triage.corefile.modules import MappedModule
from triage.runtimes.php.globals import Php
from triage.runtimes.php.reader import Reader

Block = tuple[int, bytes]
_MOST_DATA = 64 * 1024 * 1024


class ModuleData:
    """Dumped data of the files that hold PHP's modules, each read once."""

    def __init__(self, core: CoreFile, php: Php, reader: Reader) -> None:
        self._core = core
        self._main = php.module
        self._files: dict[int, MappedModule] = {}
        for extension in php.extensions:
            number = reader.field(extension.entry, "module_entry", "module_number")
            file = core.module_at(extension.within)
            if number is not None and file is not None:
                self._files[number] = file
        self._read: dict[str, list[Block]] = {}

    def of(self, number: int | None) -> list[Block]:
        """`(address, bytes)` of the file with the module of that number; of PHP itself when there is none."""
        file = self._files.get(number, self._main) if number is not None else self._main
        if file.path not in self._read:
            self._read[file.path] = list(self._blocks(file))
        return self._read[file.path]

    def _blocks(self, file: MappedModule) -> list[Block]:
        found = []
        for region in self._core.memory.regions():
            if file.start <= region.start < file.end and not region.flags & PF_X:
                data = self._core.memory.dumped(region.start, min(region.end - region.start, _MOST_DATA))
                if data:
                    found.append((region.start, data))
        return found
