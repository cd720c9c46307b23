"""Every byte that leads to the PHP stack, flipped in turn: no exception, no hang, no invented frame."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.crashes.conftest import Maker
from triage.corefile import CoreFile, open_core
from triage.corefile.memory import CoreMemory, Words
from triage.corefile.protocol import Memory
from triage.model import ScriptFrame
from triage.runtimes.php import PhpProcess
from triage.runtimes.php.globals import Php, find_php
from triage.runtimes.php.heap import Shape, calibrate, check_heap
from triage.runtimes.php.reader import Reader
from triage.symbols import Finder

pytestmark = [pytest.mark.php]

Identity = tuple[str | None, str | None, str | None]


class Flipped(CoreMemory):
    """A core's memory with the bits `mask` of the byte `at` turned over."""

    at = 0
    mask = 0

    @classmethod
    def over(cls, memory: CoreMemory) -> Flipped:
        """The same memory, nothing flipped yet."""
        copy = cls.__new__(cls)
        copy.__dict__.update(memory.__dict__)
        return copy

    def read(self, address: int, size: int) -> bytes | None:
        raw = super().read(address, size)
        if raw is None or not address <= self.at < address + size:
            return raw
        changed = bytearray(raw)
        changed[self.at - address] ^= self.mask
        return bytes(changed)

    @contextmanager
    def words(self, address: int) -> Iterator[Words | None]:
        with super().words(address) as words:
            if words is None or not words.start <= self.at < words.end:
                yield words
                return
            changed = bytearray(words.raw)
            changed[self.at - words.start] ^= self.mask
            with memoryview(changed) as raw, raw.cast("Q") as view:
                yield Words(words.start, raw, view)


class Piecewise:
    """Memory that is read piece by piece only."""

    def __init__(self, memory: Memory) -> None:
        self.read = memory.read


class Patient:
    """One core whose memory can be damaged a byte at a time."""

    def __init__(self, core: CoreFile) -> None:
        self.finder = Finder()
        core.memory.use_files(self.finder.backing(core.modules))
        found = find_php(core, self.finder)
        assert isinstance(found, Php)
        self.php = found
        self.memory = Flipped.over(core.memory)
        object.__setattr__(core, "memory", self.memory)
        self.core = core

    def process(self) -> PhpProcess:
        return PhpProcess(self.core, self.finder, self.php, script_frames=1000, values=True)

    def frames(self) -> Sequence[ScriptFrame]:
        """The stack alone, read anew."""
        return self.process().stack().frames

    def anchor(self) -> int:
        """A block of PHP's heap."""
        found = Reader(self.memory, self.php.layout).field(self.executor().start, "executor_globals", "vm_stack")
        assert found is not None
        return found

    def executor(self) -> range:
        start = self.php.address("executor_globals")
        assert start is not None
        return range(start, start + self.php.layout.size("executor_globals"))

    def records(self, frames: Sequence[ScriptFrame]) -> Iterator[int]:
        """Addresses of all bytes of the frames' own records."""
        for frame in frames:
            yield from range(frame.address, frame.address + self.php.layout.size("execute_data"))


def sure(frames: Sequence[ScriptFrame]) -> list[Identity]:
    """The frames that are told without a doubt."""
    doubts = ("unreadable", "unknown")
    kept = [frame for frame in frames if not any(word in (frame.note or "") for word in doubts)]
    return [(frame.function, frame.class_name, frame.file) for frame in kept]


def is_part(found: list[Identity], whole: list[Identity]) -> bool:
    """Whether `found` is `whole` with some left out: the same order, nothing new."""
    rest = iter(whole)
    return all(any(item == other for other in rest) for item in found)


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("callbacks", 0xFF), ("generator", 0x08),
        *(pytest.param(name, mask, marks=pytest.mark.whole) for name, mask in
          (("callbacks", 0x01), ("callbacks", 0x08), ("generator", 0x01), ("generator", 0xFF))),
    ],
)  # fmt: skip
def test_no_frame_is_invented(made: Maker, name: str, mask: int) -> None:
    with open_core(made(name).core) as core:
        patient = Patient(core)
        good = patient.frames()
        whole = sure(good)
        assert len(whole) == len(good)
        patient.memory.mask = mask
        wrong = []
        for address in (*patient.records(good), *patient.executor()):
            patient.memory.at = address
            found = sure(patient.frames())
            if not is_part(found, whole):
                wrong.append((hex(address), found))
        assert wrong == []


def test_everything_else_survives_too(made: Maker) -> None:
    """Facts, names, options, hooks, fibers and heap with a byte wrong somewhere in what leads to them."""
    chance = random.Random(20261123)
    with open_core(made("callbacks").core) as core:
        patient = Patient(core)
        good = patient.process().read()
        spots = [*patient.records(good.frames), *patient.executor()]
        for name in ("core_globals", "sapi_globals", "module_registry", "basic_globals"):
            start = patient.php.address(name)
            assert start is not None
            spots.extend(range(start, start + 400))
        for address in chance.sample(spots, 120):
            patient.memory.at = address
            patient.memory.mask = chance.choice((0x01, 0x10, 0x80, 0xFF))
            reading = patient.process().read()
            assert reading.runtime.version == good.runtime.version


def test_a_damaged_heap_record_is_survived(made: Maker) -> None:
    """Bytes of the heap's first page and of its blocks, one wrong at a time: a verdict or `unknown`, no error.

    It is the same whether the blocks are read where they lie or run by run.
    """
    chance = random.Random(8236)
    with open_core(made("callbacks").core) as core:
        patient = Patient(core)
        shape = calibrate(core.memory, patient.anchor())
        assert isinstance(shape, Shape)
        spots = [*range(shape.main, shape.main + 4096), *range(shape.main + 4096, shape.main + (1 << 19), 61)]
        states = set()
        for address in chance.sample(spots, 250):
            patient.memory.at = address
            patient.memory.mask = chance.choice((0x01, 0x10, 0x80, 0xFF))
            reader = Reader(patient.memory, patient.php.layout)
            found, _ = check_heap(reader, calibrate(patient.memory, patient.anchor()))
            states.add(found.state)
            piecewise = Reader(Piecewise(patient.memory), patient.php.layout)
            assert found == check_heap(piecewise, calibrate(patient.memory, patient.anchor()))[0]
        assert states <= {"intact", "damaged", "unknown"}
        assert {"damaged", "unknown"} <= states
