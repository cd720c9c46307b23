"""Cores with damage: no traceback, no hang, no defect of a stage; a crash or a reason each time."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crashes.conftest import Maker
from triage.config import Settings
from triage.pipeline import Pipeline

pytestmark = [pytest.mark.php, pytest.mark.gdb]

_ROUNDS = 6
_SECONDS = 20


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _zeros(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    length = chance.randrange(1, len(data) - at + 1)
    data[at : at + length] = bytes(length)


def _bytes(data: bytearray, chance: random.Random) -> None:
    for _ in range(10_000):
        data[chance.randrange(len(data))] = chance.randrange(256)


def _headers(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 5, 50))):
        data[chance.randrange(8000)] = chance.randrange(256)


def _pointers(data: bytearray, chance: random.Random) -> None:
    """Words swapped, set to the edges of numbers, moved a little: what lies in wait for readers of structures."""
    last = len(data) - 8
    for _ in range(3000):
        at, other = chance.randrange(last) & ~7, chance.randrange(last) & ~7
        word = struct.unpack_from("<Q", data, at)[0]
        others = struct.unpack_from("<Q", data, other)[0]
        new = chance.choice((0, 1, 1 << 63, (1 << 64) - 1, word + 8, word ^ 0xFF, word + 4096, others))
        struct.pack_into("<Q", data, at, new & ((1 << 64) - 1))


_KINDS: dict[str, Callable[[bytearray, random.Random], None]] = {
    "cut": _cut,
    "zeros": _zeros,
    "bytes": _bytes,
    "headers": _headers,
    "pointers": _pointers,
}


@pytest.mark.parametrize("kind", _KINDS)
def test_damage_is_survived(made: Maker, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = made("generator").core.read_bytes()
    chance = random.Random(kind)
    core = tmp_path / "damaged.core"
    with Pipeline(Settings()) as pipeline:
        for _ in range(_ROUNDS):
            data = bytearray(whole)
            _KINDS[kind](data, chance)
            core.write_bytes(data)
            begun = time.monotonic()
            outcome = pipeline.triage(core)
            assert time.monotonic() - begun < _SECONDS
            assert (outcome.crash is None) == (outcome.failure is not None)
            for warning in outcome.crash.warnings if outcome.crash else ():
                assert "defect" not in warning
            assert "Traceback" not in capfd.readouterr().err
