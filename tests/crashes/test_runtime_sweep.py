"""Bytes that lead to Perl's and Ruby's stacks, flipped one at a time: no exception, no hang."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crashes.test_php_sweep import Flipped
from tests.lab import perl, ruby
from tests.lab.interpreters import RUBIES, Program, ensure
from tests.lab.suites import CannotMake
from triage.corefile import CoreFile, open_core
from triage.model import ScriptFrame
from triage.runtimes.perl import PerlProcess
from triage.runtimes.perl.find import Perl, find_perl
from triage.runtimes.protocol import Interpreter
from triage.runtimes.ruby import RubyProcess
from triage.runtimes.ruby.find import Ruby, find_ruby
from triage.symbols import Finder

_ROUNDS = 150
Maker = Callable[[CoreFile, Finder], Interpreter]


@pytest.mark.perl
def test_perl(tmp_path: Path) -> None:
    path = shutil.which("perl")
    if path is None:
        pytest.skip("no perl here: apt install perl")
    made = perl.make("nested", Program(path, (5, 0)), tmp_path)

    def process(core: CoreFile, finder: Finder) -> Interpreter:
        found = find_perl(core, finder)
        assert isinstance(found, Perl)
        return PerlProcess(core, finder, found, script_frames=1000)

    _sweep(made.core, None, process)


@pytest.mark.ruby
@pytest.mark.suites
def test_ruby(tmp_path: Path) -> None:
    try:
        program = ensure(RUBIES[-1])
    except CannotMake as reason:
        pytest.skip(str(reason))
    made = ruby.make("nested", program, tmp_path)

    def process(core: CoreFile, finder: Finder) -> Interpreter:
        found = find_ruby(core, finder)
        assert isinstance(found, Ruby)
        return RubyProcess(core, finder, found, script_frames=1000)

    _sweep(made.core, made.root, process)


def _sweep(path: Path, root: Path | None, make: Maker) -> None:
    """The same process read again and again, each time with one byte of its frames' records wrong."""
    chance = random.Random(11)
    with open_core(path) as core:
        finder = Finder(root)
        core.memory.use_files(finder.backing(core.modules))
        process = make(core, finder)
        whole = process.read().frames
        assert len(whole) > 10
        memory = Flipped.over(core.memory)
        spots = [frame.address + at for frame in whole for at in range(104)]
        lost = 0
        for address in chance.sample(spots, _ROUNDS):
            memory.at, memory.mask = address, chance.choice((0x01, 0x10, 0x80, 0xFF))
            object.__setattr__(core, "memory", memory)
            values = process._values  # type: ignore[attr-defined]
            values.memory = memory
            frames = process.read().frames
            assert all(isinstance(frame, ScriptFrame) for frame in frames)
            lost += frames != whole
        assert lost  # the flips reached what is read
