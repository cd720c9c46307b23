"""The objects that go to and fro between us and our commands inside GDB."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.gdb import packed
from triage.gdb.packed import Damaged, pack, unpack

_PLAIN = st.none() | st.booleans() | st.integers() | st.text()
_OBJECTS = st.dictionaries(st.text(), _PLAIN | st.lists(_PLAIN), max_size=8)


@given(_OBJECTS)
def test_an_object_comes_back_as_it_was(value: dict[str, object]) -> None:
    word = pack(value)

    assert unpack(word) == value
    assert word.isascii()
    assert not set(word) & set("\"'\\ \n")  # it stands between quotation marks, at GDB's prompt


def test_a_stack_of_36_frames_takes_a_fifth() -> None:
    frame = {"name": "zend_call_function", "file": "/build/php8.2-8.2.32/Zend/zend_execute_API.c", "line": 0, "at": 0}
    value = {"frames": [{**frame, "line": 900 + at, "at": at} for at in range(36)]}

    assert len(pack(value)) * 5 < len(base64.b64encode(json.dumps(value).encode()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no base64!",
        pack({"stacks": [1, 2, 3]})[:-8],
        base64.b64encode(b"{}").decode(),
        base64.b64encode(zlib.compress(b"[1]")).decode(),
        base64.b64encode(zlib.compress(b'{"a":')).decode(),
        base64.b64encode(zlib.compress(b"\xff{}")).decode(),
        base64.b64encode(zlib.compress(b"[" * 100_000)).decode(),
    ],
    ids=["empty", "no base64", "cut off", "not deflated", "a list", "half JSON", "not UTF-8", "deep"],
)
def test_what_is_damaged_is_refused(text: str) -> None:
    with pytest.raises(Damaged):
        unpack(text)


def test_what_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_MOST", 1 << 20)
    small, large = {"a": "x" * ((1 << 20) - 8)}, {"a": "x" * ((1 << 20) - 7)}

    assert unpack(pack(small)) == small
    with pytest.raises(Damaged, match="too long"):
        unpack(pack(large))
