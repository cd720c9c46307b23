"""Files around a core: programs and libraries, and what other crash catchers write beside it."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Sequence

from tests.fuzz.targets.base import Raw
from tests.lab.native import SOURCES
from triage.corefile.sources.collected import SUFFIX
from triage.corefile.sources.journal import Journal
from triage.corefile.sources.opening import _told
from triage.errors import InputError
from triage.symbols.dwarf import DebugTypes
from triage.symbols.elffile import ElfFile
from triage.symbols.parts import parts
from triage.symbols.separate import alt_link, debug_link
from triage.unwind.cfi import Unreadable, step_at

_STRUCTURES = ("struct _zval_struct", "zval", "struct _zend_vm_stack", "nameless", "zend_llist_element")


class ElfTarget(Raw):
    """A program with and without symbols: names, unwind tables, debug information."""

    name, share = "elf", 5

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        return [self._compiled("-g"), self._compiled("-g", "-gz"), self._compiled("-s"), self._compiled("-O2")]

    def _compiled(self, *flags: str) -> bytes:
        made = self.folder / "program"
        subprocess.run(["gcc", *flags, "-o", made, SOURCES / "structures.c"], check=True)
        return made.read_bytes()

    def take(self, data: bytes) -> str:
        """See Raw."""
        path = self.folder / "program"
        path.write_bytes(data)
        try:
            file = ElfFile(path)
        except InputError as error:
            return error.code
        starts = file.function_starts()
        for address in (*starts[:8], *(at + 5 for at in starts[-8:]), *(start for start, _ in file.code()[:2])):
            self._unwind(file, address)
        parts(file, "main")
        debug_link(file.section(".gnu_debuglink"))
        alt_link(file.section(".gnu_debugaltlink"))
        named = (file.build_id, file.has_symtab, file.is_only_debug, file.has_debug_info)
        return "named" if any(named) else "bare"

    def _unwind(self, file: ElfFile, address: int) -> None:
        file.function_at(address)
        file.function_start(address)
        file.unwind_rows(address)
        entry = file.frame_entry(address)
        try:
            if entry is not None:
                step_at(file.read, entry, address)
        except Unreadable:
            return


class DwarfTarget(ElfTarget):
    """Structures from debug information."""

    name, share = "dwarf", 2

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        return [self._compiled("-g"), self._compiled("-g", "-gdwarf-4", "-gz"), self._compiled("-g", "-gdwarf-3")]

    def take(self, data: bytes) -> str:
        """See Raw."""
        path = self.folder / "described"
        path.write_bytes(data)
        try:
            found = DebugTypes(path)
            structures = [found.structure(name) for name in _STRUCTURES]
            found.enumerators("enum colour")
        except InputError as error:
            return error.code
        for structure in structures:
            if structure is not None:
                structure.places(("value", "u1.v.extra", "top", "prev", "pages", "kept.u2", "raw", "first"))
        return "found" if any(structures) else "nothing"


class OriginTarget(Raw):
    """What systemd-coredump, ABRT and our own collector tell of a core, by its name and beside it."""

    name = "origin"
    _names = (
        "core.php-fpm8\\x2e2.33.0123456789abcdef0123456789abcdef.4242.1769000000000000",
        "core.php.4242.1769000000",
        "core",
    )

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        empty = self.folder / "journal"
        empty.mkdir()
        self._journal = Journal(empty)
        self._journal._usable = False  # a process for each input would set the pace
        facts = {
            "format": "triage-collect-1", "time": 1769000000.5, "pid": 4242, "user": 33, "host": "web",
            "executable": "/usr/sbin/php-fpm8.2", "arguments": ["php-fpm: pool www"], "unit": "php.service",
        }  # fmt: skip
        plain = (b"1769000000", b"4242\n", b"php-fpm: pool www", b"0::/docker/" + b"a1" * 32)
        return [json.dumps(facts).encode(), *plain]

    def run(self, chance: random.Random) -> str:
        """See Target: a folder with a core and files beside it, of which some are damaged."""
        self._chance = chance
        return super().run(chance)

    def take(self, data: bytes) -> str:
        """See Raw."""
        chance = self._chance
        folder = self.folder / "problem"
        folder.mkdir(exist_ok=True)
        name = "".join(self._digit(char) for char in chance.choice(self._names))
        core = folder / chance.choice((name, "coredump", "php-4242-1769000000.core"))
        parts = (f"php-4242-1769000000{SUFFIX}", "time", "uid", "pid", "count")
        beside = [folder / part for part in parts]
        for path in (core, *chance.sample(beside, 3)):
            path.write_bytes(data)
        when = chance.choice((0, 1_769_000_000, -1, 1 << 40, (1 << 62) // 10**9))
        try:
            os.utime(core, (when, when))
        except OverflowError:
            return "no such time"
        descriptor = os.open(core, os.O_RDONLY)
        try:
            origin = _told(core, descriptor, self._journal)
        finally:
            os.close(descriptor)
            for path in folder.iterdir():
                path.unlink()
        assert origin.time is None or origin.time.year
        numbers = (origin.pid, origin.user, origin.occurrences)
        assert all(number is None or abs(number) < 1 << 62 for number in numbers)
        return origin.kind

    def _digit(self, char: str) -> str:
        return self._chance.choice("0123456789") if self._chance.random() < 0.1 else char
