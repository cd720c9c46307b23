"""The native stack goes on through code the JIT made and across fibers, to the very start of the process."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crashes.conftest import Maker, show, some

pytestmark = [pytest.mark.php, pytest.mark.gdb]

CASES = ("jit-function", "jit-tracing", "jit-callbacks", "fiber", "fibers", "fiber-generator", "fiber-above")
ALWAYS = ("jit-function", "jit-callbacks")  # a trace is left again before it calls out, as a rule
CALLERS = {"zend_execute", "zend_call_function", "zend_generator_resume", "execute_ex"}


def holds(crash: dict[str, Any], *, jit: bool) -> None:
    """No frame is left over, JIT frames are there and lead to a caller of the loop, the stack is whole."""
    assert crash["warnings"] == []
    frames = crash["threads"][0]["frames"]
    native = [frame for frame in frames if frame["kind"] == "native"]
    assert native[-1]["function"] == "_start"
    assert frames[-1]["kind"] == "native"
    assert {frame["trust"] for frame in native} <= {"context", "cfi", "frame-pointer"}
    generated = [at for at, frame in enumerate(native) if frame["note"] == "jit"]
    assert generated or not jit
    for at in generated:
        assert native[at]["function"].startswith("JIT[")
        assert native[at + 1]["function"] in CALLERS
        assert native[at + 1]["trust"] == "frame-pointer"


def named_right(crash: dict[str, Any]) -> None:
    """Each JIT frame is named by a PHP frame just inside of it."""
    frames = crash["threads"][0]["frames"]
    for at, frame in enumerate(frames):
        if frame["note"] != "jit" or frame["kind"] != "native":
            continue
        inside: list[dict[str, Any]] = []
        while frames[at - 1 - len(inside)]["kind"] == "php":
            inside.append(frames[at - 1 - len(inside)])
        names = [f"{(f['class'] or '').split(chr(0))[0]}{'::' if f['class'] else ''}{f['function']}" for f in inside]
        assert frame["function"] in [f"JIT[{name}]" for name in names]


@pytest.mark.parametrize("name", CASES)
def test_this_php(made: Maker, name: str) -> None:
    crash = show(made(name))
    holds(crash, jit=name in ALWAYS)
    named_right(crash)


@pytest.mark.suites
@pytest.mark.parametrize("name", some(CASES, ["jit-callbacks", "fiber-above"]))
def test_other_php(made_by_suite: Maker, name: str) -> None:
    crash = show(made_by_suite(name))
    holds(crash, jit=name in ALWAYS)
    named_right(crash)
