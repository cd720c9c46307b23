"""What a function without a name is told by: whom it calls, what it mentions, in which table it stands.

A stripped file has no name for a static function, but what its code refers to has: functions and data
that the file exports or imports, and its texts. Those hold across builds, versions and programs made of the same
sources, where addresses and instructions do not.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from operator import itemgetter

import capstone

from triage.model import Frame, Thread
from triage.symbols.elffile import ElfFile
from triage.symbols.imports import imports_of

CALLS, SAYS, BEGINS, USES, CONSTANT, TABLE = "calls", "says", "begins", "uses", "has", "is"
_X86_64 = 62
_PLACE = itemgetter(*map(Frame._fields.index, ("kind", "module", "offset", "inlined", "note")))
_new = tuple.__new__  # a third of the time that calling a NamedTuple takes
_LONGEST = 1 << 15
_MOST = 24
_FRAMES = 60
_SHORTEST_TEXT, _LONGEST_TEXT = 4, 48
_RIP = re.compile(r"\[rip ([+-]) (0x[0-9a-f]+|\d+)\]")
_NUMBER = re.compile(r"0x[0-9a-f]{5,16}\Z")
_TEXT = re.compile(rb"[\x20-\x7e\n\t]+\Z")
_WORD = re.compile(rb"[\x20-\x7e]{8}\Z")
_CHUNK, _COPIED = 8, 24
_JUMPS = ("call", "jmp")
_NO_NUMBER = ("j", "call", "lea", "loop")


class Traits:
    """The traits of the functions of one file."""

    def __init__(self, file: ElfFile) -> None:
        self._file = file
        self._imports = imports_of(file)

    @cached_property
    def _machine(self) -> capstone.Cs | None:
        if int.from_bytes(bytes(self._file.contents[18:20]), "little") != _X86_64:
            return None
        return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)

    @cached_property
    def _exports(self) -> dict[int, str]:
        return {symbol.address: symbol.name for symbol in self._file.symbols.values()}

    @cached_property
    def _data(self) -> tuple[list[int], list[tuple[int, str]]]:
        found = sorted((s.address, s.size, s.name) for s in self._file.symbols.values())
        return [address for address, _, _ in found], [(size, name) for _, size, name in found]

    def of(self, start: int) -> tuple[str, ...]:
        """The traits of the function that begins at `start`, at most 24, the same ones wherever they are."""
        bounds = self._file.function_range(start)
        if self._machine is None or bounds is None:
            return ()
        end = bounds[1]
        raw = self._file.read(start, min(end - start, _LONGEST))
        found = set(self._words(self._machine, raw, start, end)) if raw else set()
        tabled = self._imports.tabled(start)
        if tabled:
            found.add(f"{TABLE} {tabled}")
        return tuple(sorted(found, key=_lot)[:_MOST])

    def _words(self, machine: capstone.Cs, raw: bytes, start: int, end: int) -> Iterator[str]:
        for address, size, mnemonic, operands in machine.disasm_lite(raw, start):
            if mnemonic in _JUMPS and operands.startswith("0x"):
                target = int(operands, 16)
                if not start <= target < end:
                    yield from self._called(target)
                continue
            found = _RIP.search(operands)
            if found:
                distance = int(found[2], 0)
                target = address + size + (distance if found[1] == "+" else -distance)
                yield from self._referred(target, mnemonic)
            number = operands.rpartition(", ")[2]
            if _NUMBER.match(number) and not mnemonic.startswith(_NO_NUMBER) and number[:6] != "0xffff":
                yield _number(int(number, 16))

    def _called(self, target: int) -> Iterator[str]:
        name = self._exports.get(target) or self._imports.stub(target)
        if name:
            yield f"{CALLS} {name}"
            return
        tabled = self._imports.tabled(target)
        if tabled:
            yield f"{CALLS} {tabled}"

    def _referred(self, target: int, mnemonic: str) -> Iterator[str]:
        name = self._imports.slot(target)
        if name:
            yield f"{CALLS if mnemonic in _JUMPS else USES} {name}"
            return
        if mnemonic == "lea" and target in self._exports:
            yield f"{USES} {self._exports[target]}"
            return
        name = self._data_at(target)
        if name:
            yield f"{USES} {name}"
        elif mnemonic == "lea":
            text = self._imports.text(target, _LONGEST_TEXT * 4)
            if text and len(text) >= _SHORTEST_TEXT and _TEXT.match(text):
                yield f"{SAYS} {text[:_LONGEST_TEXT].decode('ascii')}"
                if _CHUNK <= len(text) <= _COPIED:
                    yield f"{BEGINS} {text[:_CHUNK].decode('ascii')}"

    def _data_at(self, target: int) -> str | None:
        addresses, rest = self._data
        at = bisect_right(addresses, target) - 1
        if at >= 0 and target < addresses[at] + rest[at][0]:
            return rest[at][1]
        return None


def _number(value: int) -> str:
    """A constant; eight bytes of text are how compilers copy a short text."""
    raw = value.to_bytes(8, "little")
    return f"{BEGINS} {raw.decode('ascii')}" if _WORD.match(raw) else f"{CONSTANT} {value:#x}"


@lru_cache(maxsize=1 << 16)
def _lot(word: str) -> bytes:
    """A number drawn for a word: the same everywhere, so two builds keep the same ones of many."""
    return hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()


@lru_cache(maxsize=64)
def _of(file: ElfFile) -> Traits:
    return Traits(file)


@lru_cache(maxsize=8192)
def told(file: ElfFile, offset: int) -> tuple[int | None, tuple[str, ...]]:
    """`(start, traits)` of the function at an address of a file; no traits where the file exports its name."""
    start = file.function_start(offset)
    if start is None or file.function_at(offset) is not None:
        return start, ()
    return start, _of(file).of(start)


def tell(thread: Thread, file_of: Callable[[str], ElfFile | None]) -> Thread:
    """The thread with the start of each native function, and what tells those whose file has no name for them.

    `file_of` finds the proven file of a module by its path. Only the inner frames are told: no comparison looks
    farther.
    """
    frames: list[Frame] = []
    files: dict[str, ElfFile | None] = {}
    back = 0
    for frame in thread.frames[:_FRAMES]:
        kind, module, offset, inlined, note = _PLACE(frame)
        if kind == "native" and not inlined and module is not None and offset is not None:
            if module not in files:
                files[module] = file_of(module)
            file = files[module]
            frame = _new(Frame, (*frame[:-2], *told(file, offset - back))) if file is not None else frame
        frames.append(frame)
        # A caller stands behind its call, which may be the last instruction of the function.
        back = 0 if note == "signal handler" else 1
    return Thread(
        id=thread.id,
        name=thread.name,
        crashed=thread.crashed,
        depth=thread.depth,
        truncated=thread.truncated,
        frames=(*frames, *thread.frames[_FRAMES:]),
    )
