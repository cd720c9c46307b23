"""Bytes that lead to the Python stack, flipped in turn: no exception, no hang, no invented frame."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.crashes.test_php_sweep import Flipped, Identity, is_part, sure
from tests.lab.python import CASES, make, system_python
from tests.lab.suites import CannotMake
from triage.corefile import CoreFile, open_core
from triage.model import ScriptFrame
from triage.runtimes.python import PythonProcess
from triage.runtimes.python.find import Python, find_python
from triage.symbols import Finder

pytestmark = [pytest.mark.python]


class Patient:
    """One core whose memory can be damaged a byte at a time."""

    def __init__(self, core: CoreFile) -> None:
        self.finder = Finder()
        core.memory.use_files(self.finder.backing(core.modules))
        found = find_python(core, self.finder)
        assert isinstance(found, Python)
        self.python = found
        self.memory = Flipped.over(core.memory)
        object.__setattr__(core, "memory", self.memory)
        self.core = core

    def process(self) -> PythonProcess:
        return PythonProcess(self.core, self.finder, self.python, script_frames=1000)

    def frames(self) -> Sequence[ScriptFrame]:
        return self.process().stack().frames

    def records(self, frames: Sequence[ScriptFrame]) -> Iterator[int]:
        """Addresses of all bytes of the frames' own records."""
        for frame in frames:
            yield from range(frame.address, frame.address + self.python.layout.size("interpreter_frame"))


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crash inside generators."""
    try:
        case = next(case for case in CASES if case.name == "generators")
        return make(case, system_python(), tmp_path_factory.mktemp("python")).core
    except CannotMake as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("mask", [0x01, 0x08, 0xFF])
def test_no_frame_is_invented(core: Path, mask: int) -> None:
    with open_core(core) as opened:
        patient = Patient(opened)
        good = patient.frames()
        whole: list[Identity] = sure(good)
        assert len(whole) == len(good) == 9
        patient.memory.mask = mask
        wrong = []
        for address in patient.records(good):
            patient.memory.at = address
            found = sure(patient.frames())
            if not is_part(found, whole):
                wrong.append((hex(address), found))
        assert wrong == []


def test_everything_else_survives_too(core: Path) -> None:
    """Facts, threads, modules and names with a byte wrong somewhere in what leads to them."""
    chance = random.Random(20261124)
    with open_core(core) as opened:
        patient = Patient(opened)
        good = patient.process().read()
        layout, interpreter = patient.python.layout, patient.python.interpreter
        starts = [
            interpreter,
            interpreter + layout.offset("interpreter_state", "imports_modules"),
            patient.python.runtime,
            *(thread.address for thread in patient.process()._threads),
            *patient.process()._modules.values(),
        ]
        spots = [*patient.records(good.frames), *(start + at for start in starts for at in range(64))]
        for address in chance.sample(spots, 25):
            patient.memory.at = address
            patient.memory.mask = chance.choice((0x01, 0x10, 0x80, 0xFF))
            reading = patient.process().read()
            assert reading.runtime.version == good.runtime.version


def test_a_core_damaged_anywhere_is_found_or_refused(core: Path, tmp_path: Path) -> None:
    """Whole runs of bytes overwritten in the core file itself, the search for Python included."""
    chance = random.Random(311)
    whole = core.read_bytes()
    for number in range(8):
        damaged = bytearray(whole)
        for _ in range(400):
            at = chance.randrange(4096, len(whole) - 64)
            damaged[at : at + 64] = chance.randbytes(64)
        path = tmp_path / f"{number}.core"
        path.write_bytes(damaged)
        with open_core(path) as opened:
            finder = Finder()
            opened.memory.use_files(finder.backing(opened.modules))
            found = find_python(opened, finder)
            assert isinstance(found, (Python, str))
            if isinstance(found, Python):
                assert PythonProcess(opened, finder, found, script_frames=1000).read().runtime.version
        path.unlink()
