"""A short run of the fuzzer with a fixed seed, and properties of the parsers of foreign text."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.run import Tally, attempt, ring, table
from tests.fuzz.targets import TARGETS, Target

_TURNS = {
    "core": 150, "notes": 300, "stack": 300, "heap": 100, "python": 100, "perl": 100, "elf": 60, "dwarf": 60,
    "origin": 200, "mi": 800, "apport": 300, "kernel": 300, "query": 500, "text": 30,
}  # fmt: skip
_BROKE_ONCE = ("perl:40000719002", "dwarf:1000001000", "dwarf:1000196000", "kernel:3000052002")


@pytest.fixture
def _alarm() -> Iterator[None]:
    before = signal.signal(signal.SIGPROF, ring)
    yield
    signal.signal(signal.SIGPROF, before)


@pytest.mark.gdb
@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize("name", list(_TURNS))
def test_a_short_run_finds_nothing(name: str, tmp_path: Path) -> None:
    target = TARGETS[name](tmp_path)
    tally = Tally()
    for number in range(_TURNS[name]):
        attempt(target, number, tally)
    tally.lost += target.close()
    assert (tally.failures, tally.lost) == ([], 0)
    assert tally.inputs == _TURNS[name]
    assert tally.slowest < 5
    assert len(tally.outcomes) > 1 or name in ("text", "perl", "python")  # it met good and bad ones


@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize("name", _BROKE_ONCE)
def test_what_once_broke_something_does_not(name: str, tmp_path: Path) -> None:
    kind, _, number = name.partition(":")
    target, tally = TARGETS[kind](tmp_path), Tally()
    attempt(target, int(number), tally)
    target.close()
    assert tally.failures == []
    assert tally.slowest < 3


class Faulty(Target):
    """Breaks on every third input."""

    name = "faulty"

    def run(self, chance: random.Random) -> str:
        """See Target."""
        if chance.random() < 0.3:
            raise KeyError("broken")
        return "fine"


def test_a_failure_is_counted_and_can_be_made_again(tmp_path: Path) -> None:
    def run() -> Tally:
        tally = Tally()
        for number in range(50):
            attempt(Faulty(tmp_path), number, tally, alarm=False)
        return tally

    first, second = run(), run()
    assert 5 < first.exceptions < 25
    assert first.outcomes == {"fine": 50 - first.exceptions}
    assert [text.split(":")[1] for text in first.failures] == [text.split(":")[1] for text in second.failures]
    assert "KeyError: 'broken'" in first.failures[0]
    assert table({"faulty": first}).splitlines()[1].split()[:5] == ["faulty", "50", "0", "0", str(first.exceptions)]
