"""Cores of processes that are alike, read one after another: what is kept from one must not show in the next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.crashes.test_php_builds import reading
from triage.config import Settings
from triage.pipeline import Pipeline
from triage.symbols import Finder
from triage.wire import crash_to_json


def record(pipeline: Pipeline, core: Path) -> dict[str, Any]:
    """The crash as it is stored, but for times."""
    crash = pipeline.triage(core).crash
    assert crash is not None
    return {**crash_to_json(crash), "timing": None, "time": None}


def read_as_alone(cores: Sequence[Path]) -> Finder:
    """There and back, each core reads as it does without the others; what kept the answers."""
    shared = Finder()
    for core in (*cores, *reversed(cores)):
        assert reading(core, shared) == reading(core, Finder()), core.name
    return shared


def recorded_as_alone(cores: Sequence[Path]) -> None:
    """The last records of a pipeline that saw all are those of pipelines that saw no other."""
    with Pipeline(Settings()) as warm:
        found = {core: record(warm, core) for core in cores}
    for core in cores[-4:]:
        with Pipeline(Settings()) as fresh:
            assert record(fresh, core) == found[core], core.name


def a_change_is_seen(cores: Sequence[Path], folder: Path, before: bytes, after: bytes, told: dict[str, str]) -> None:
    """A process whose settings are others than those before it, by the memory of its core."""
    shared = Finder()
    for core in cores[:8]:
        reading(core, shared)
    changed = folder / "changed.core"
    contents = cores[8].read_bytes()
    assert before in contents
    changed.write_bytes(contents.replace(before, after))
    found = reading(changed, shared)
    options = found["runtime"]["options"]
    assert {name: options[name] for name in told} == told
    assert found == reading(changed, Finder())
    # And the process after it is not taken in by the changed one.
    assert reading(cores[9], shared) == reading(cores[9], Finder())
