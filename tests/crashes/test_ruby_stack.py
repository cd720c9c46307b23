"""The Ruby stack read from a core equals what caller_locations() said just before the crash."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.conftest import Triaged
from tests.lab import ruby
from tests.lab.interpreters import RUBIES, Program, Release, ensure
from tests.lab.suites import CannotMake

pytestmark = [pytest.mark.ruby, pytest.mark.gdb, pytest.mark.suites]


@pytest.fixture(scope="module", params=RUBIES, ids=lambda release: release.name)
def program(request: pytest.FixtureRequest) -> Program:
    """The Ruby of a Debian release."""
    release: Release = request.param
    try:
        return ensure(release)
    except CannotMake as reason:
        pytest.skip(f"{release.name} cannot be had: {reason}")


@pytest.mark.parametrize("name", ruby.CASES)
def test_the_stack(program: Program, triaged: Triaged, tmp_path: Path, name: str) -> None:
    made = ruby.make(name, program, tmp_path)
    crash = triaged(made.core, made.root)
    assert ruby.shown(crash) == list(made.frames)
    assert (crash["runtime"]["name"], crash["runtime"]["version"][:3]) == ("ruby", "{}.{}".format(*program.version))
    assert crash["warnings"] == []
    assert _unmatched(crash) == []


def _unmatched(crash: dict[str, Any]) -> list[str]:
    """Runs of Ruby frames without a native loop right outside of them."""
    frames = next(thread for thread in crash["threads"] if thread["crashed"])["frames"]
    return [
        f"{inner['function']} / {outer['function']}"
        for inner, outer in pairwise(frames)
        if inner["kind"] == "ruby"
        and outer["kind"] == "native"
        and outer["function"] not in ("vm_exec_core", "rb_vm_exec")
        and inner["note"] != "internal"
    ]
