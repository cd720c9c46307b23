"""Perl's values read out of foreign memory: scalars, arrays, hashes, and the names of subs and packages."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from triage.corefile.protocol import Memory
from triage.runtimes.layout import Layout
from triage.runtimes.structures import Structures
from triage.text import from_bytes

_MOST_TEXT = 65_536
_MOST_BUCKETS = 1 << 20
_MOST_ENTRIES = 100_000
_MOST_ITEMS = 10_000
_TYPE = 0xFF


class Values(Structures):
    """Reads values of one Perl."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        super().__init__(memory, layout)
        self._c = {name: layout.constant(f"PERL_{name}") for name in ("POK", "NOK", "IOK", "GV", "AV", "HV", "CV")}
        self._named = layout.constant("PERL_NAMED") or 0

    def is_a(self, address: int | None, kind: str) -> bool:
        """Whether there is a value of a type such as `GV`, `HV`."""
        flags = self.field(address, "sv", "flags") if address and self.sound(address) else None
        return flags is not None and flags & _TYPE == self._c[kind]

    def text(self, address: int | None, limit: int = 4096) -> str | None:
        """The NUL-terminated text at `address`."""
        return super().text(address, limit)

    def scalar(self, address: int | None) -> str | None:
        """A scalar as text: a string, or a number; `None` for anything else."""
        flags = self.field(address, "sv", "flags") if address and self.sound(address) else None
        body = self.field(address, "sv", "any") if address and flags is not None else None
        if address is None or flags is None or body is None:
            return None
        if flags & (self._c["POK"] or 0):
            size = self.field(body, "pv", "cur")
            start = self.field(address, "sv", "u")
            raw = self.memory.read(start, min(size, _MOST_TEXT)) if start and size is not None else None
            return from_bytes(raw) if raw is not None else None
        if flags & (self._c["NOK"] or 0):
            raw = self.memory.read(body + self.layout.offset("nv", "nv"), 8)
            return f"{struct.unpack('<d', raw)[0]:.15g}" if raw is not None else None
        return None

    def hek(self, address: int | None) -> str | None:
        """The text of a shared hash key, which is what all names are."""
        length = self.field(address, "hek", "length") if address else None
        if address is None or length is None or length > _MOST_TEXT:
            return None
        raw = self.memory.read(address + self.layout.offset("hek", "key"), length)
        return from_bytes(raw) if raw is not None else None

    def entries(self, table: int | None) -> Iterator[tuple[str, int]]:
        """Keys and values of a hash; stops at damage."""
        top = self._top(table)
        array = self.pointer(table, "sv", "u") if table and top is not None else None
        raw = self.memory.read(array, (top + 1) * 8) if array is not None and top is not None else None
        seen: set[int] = set()
        for (bucket,) in struct.iter_unpack("<Q", raw) if raw is not None else ():
            at = bucket
            while at and at not in seen and len(seen) < _MOST_ENTRIES and self.sound(at):
                seen.add(at)
                key = self.hek(self.field(at, "he", "hek"))
                value = self.field(at, "he", "value")
                if key is not None and value:
                    yield key, value
                at = self.field(at, "he", "next") or 0

    def _top(self, table: int | None) -> int | None:
        """The number of a hash's last bucket."""
        body = self.pointer(table, "sv", "any") if self.is_a(table, "HV") and table else None
        top = self.field(body, "hv", "max") if body else None
        return top if top is not None and top < _MOST_BUCKETS else None

    def items(self, array: int | None) -> list[int]:
        """Addresses of an array's elements."""
        body = self.pointer(array, "sv", "any") if self.is_a(array, "AV") and array else None
        last = self.signed(body + self.layout.offset("av", "fill")) if body else None
        start = self.field(array, "sv", "u") if array and body else None
        if last is None or not start or not 0 <= last < _MOST_ITEMS:
            return []
        raw = self.memory.read(start, (last + 1) * 8)
        return [item for (item,) in struct.iter_unpack("<Q", raw)] if raw is not None else []

    def find(self, stash: int | None, path: str, slot: str) -> int | None:
        """What a package variable such as `DynaLoader::dl_modules` has in its slot `sv`, `av` or `hv`."""
        *packages, name = path.split("::")
        for package in packages:
            stash = self._slot(self._entry(stash, f"{package}::"), "hv")
        return self._slot(self._entry(stash, name), slot)

    def _entry(self, stash: int | None, name: str) -> int | None:
        return next((value for key, value in self.entries(stash) if key == name), None) if stash else None

    def _slot(self, glob: int | None, slot: str) -> int | None:
        body = self.pointer(glob, "sv", "u") if self.is_a(glob, "GV") and glob else None
        return self.field(body, "gp", slot) or None if body else None

    def slot(self, glob: int | None, slot: str) -> int | None:
        """A slot of the glob at an address."""
        return self._slot(glob, slot)

    def sub_name(self, cv: int | None) -> tuple[str | None, str | None]:
        """`(package, name)` of the sub at `cv`; names are `None` where they cannot be read."""
        body = self.pointer(cv, "sv", "any") if self.is_a(cv, "CV") and cv else None
        flags = self.field(body, "cv", "flags") if body else None
        if body is None or flags is None:
            return None, None
        named = self.field(body, "cv", "gv")
        if flags & self._named:  # a sub without a glob of its own
            return self.package(self.field(body, "cv", "stash")), self.hek(named)
        glob = self.pointer(named, "sv", "any") if self.is_a(named, "GV") and named else None
        if glob is None:
            return None, None
        return self.package(self.field(glob, "gv", "stash")), self.hek(self.field(glob, "gv", "namehek"))

    def package(self, stash: int | None) -> str | None:
        """The name of a package."""
        top = self._top(stash)
        body = self.pointer(stash, "sv", "any") if stash and top is not None else None
        if stash is None or body is None or top is None:
            return None
        if self.layout.has("hv_with_aux", "aux"):  # 5.36 and newer
            record = body + self.layout.offset("hv_with_aux", "aux")
        else:
            record = (self.field(stash, "sv", "u") or 0) + (top + 1) * 8
        name = self.field(record, "hv_aux", "name")
        count = self.signed(record + self.layout.offset("hv_aux", "count"), 4)
        if name and count:  # several names: an array of them
            name = self.number(name)
        return self.hek(name)
