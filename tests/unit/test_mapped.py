"""A core read through its map and past it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.corefile.elf import PF_R, PF_W, PT_LOAD, Segment, columns_of
from triage.corefile.mapped import Mapped, mapped
from triage.corefile.memory import CoreMemory
from triage.corefile.pieces import clusters

_SIZE = 0x8000
_LOW, _HIGH = 0x10_0000, 0x7F00_0000_0000
_SEGMENTS = columns_of(
    [
        Segment(PT_LOAD, PF_R | PF_W, 0, _LOW, _SIZE, _SIZE, 1),
        Segment(PT_LOAD, PF_R | PF_W, _SIZE, _HIGH, _SIZE, 2 * _SIZE, 1),
    ]
)
_CONTENTS = bytes(at * 7 % 251 for at in range(2 * _SIZE))
_PLACES = st.tuples(st.sampled_from((_LOW, _HIGH)), st.integers(-8, _SIZE + 64), st.integers(1, 9000))


@given(st.lists(_PLACES, max_size=12), st.integers(0, 11))
def test_pieces_are_found_alike_in_a_file_and_in_bytes(places: list[tuple[int, int, int]], wrong: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "core")
        path.write_bytes(_CONTENTS)
        plain = CoreMemory(_CONTENTS, _SEGMENTS, [])
        with mapped(path) as data:
            past = CoreMemory(data, _SEGMENTS, [])
            spans = [(base + at, size) for base, at, size in places]
            found = [plain.read(*span) for span in spans]
            assert [past.fetch(*span) for span in spans] == found
            pieces = sorted((at, raw) for (at, _), raw in zip(spans, found, strict=True) if raw is not None)
            assert past.agrees(clusters(pieces))
            assert plain.agrees(clusters(pieces))
            if wrong < len(pieces):
                at, raw = pieces[wrong]
                pieces[wrong] = at, raw[:-1] + bytes([raw[-1] ^ 1])
                assert not past.agrees(clusters(pieces))
                assert not plain.agrees(clusters(pieces))


def test_a_file_that_was_cut_off_meanwhile_and_one_that_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(_CONTENTS)
    with mapped(path) as data:
        memory = CoreMemory(data, _SEGMENTS, [])
        os.truncate(path, _SIZE)
        assert memory.fetch(_LOW, 64) == _CONTENTS[:64]
        assert memory.fetch(_HIGH, 64) is None
        assert memory.heads([_LOW, _HIGH], 64) == [_CONTENTS[:64], None]
    assert isinstance(data, Mapped)
    with pytest.raises(OSError, match="Bad file descriptor"):
        data.fetch(0, 1)
