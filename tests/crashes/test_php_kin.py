"""Processes started one by one have the same files elsewhere: what one said holds for the next, moved."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.test_php_builds import reading
from tests.lab.php import CASES, Interpreter, make
from triage.config import Settings
from triage.corefile import CoreFile, open_core
from triage.corefile.twins import Kept, Twins
from triage.demo.crashes import find_php
from triage.pipeline import Pipeline
from triage.symbols import Finder
from triage.wire import crash_to_json

pytestmark = [pytest.mark.php, pytest.mark.gdb]

_SCRIPTS = ("kill-main", "callbacks", "generator", "include")
_OPTIONS = ("-d", "memory_limit=211M", "-d", "user_agent=kin-of-all")


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Each script three times, one after the other."""
    php = find_php()
    if php is None:
        pytest.skip("no php here: apt install php-cli")
    found = []
    for turn in range(3):
        folder = tmp_path_factory.mktemp(f"kin{turn}")
        scripts = [replace(case, options=_OPTIONS) for case in CASES if case.name in _SCRIPTS]
        found += [make(case, Interpreter(php.version), folder).core for case in scripts]
    return found


def _record(pipeline: Pipeline, core: Path) -> dict[str, Any]:
    crash = pipeline.triage(core).crash
    assert crash is not None
    return {**crash_to_json(crash), "timing": None, "time": None}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each question was answered by what lay elsewhere."""
    counted, find = Counter[str](), Twins._of_kin

    def counting(twins: Twins, core: CoreFile, question: Any, *rest: Any) -> Kept | None:
        found = find(twins, core, question, *rest)
        counted[question[1]] += found is not None
        return found

    monkeypatch.setattr(Twins, "_of_kin", counting)
    return counted


def test_these_lie_elsewhere_each(processes: list[Path]) -> None:
    bases = set()
    for path in processes:
        with open_core(path) as core:
            assert core.executable is not None
            bases.add(core.executable.base)
    assert len(bases) == len(processes)


def test_a_process_reads_as_it_does_alone(processes: list[Path], told: Counter[str]) -> None:
    shared = Finder()
    for core in (*processes, *reversed(processes)):
        assert reading(core, shared) == reading(core, Finder()), core.name
    # Of 24 readings all but the first few of each were answered by another process's.
    assert {what for what, count in told.items() if count >= 12} == {"extensions", "options", "names"}


def test_the_records_are_those_of_a_pipeline_that_saw_no_other(processes: list[Path], told: Counter[str]) -> None:
    with Pipeline(Settings()) as warm:
        found = {core: _record(warm, core) for core in processes}
    assert min(told[what] for what in ("extensions", "options", "names")) >= 6
    for core in processes[-4:]:
        with Pipeline(Settings()) as fresh:
            assert _record(fresh, core) == found[core], core.name


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (b"kin-of-all", b"kin-of-few", {"user_agent": "kin-of-few"}),
        (b"211M\0", b"212M\0", {"memory_limit": "212M"}),
    ],
)
def test_one_byte_that_differs_is_seen(
    processes: list[Path], tmp_path: Path, before: bytes, after: bytes, said: dict[str, str]
) -> None:
    shared = Finder()
    for core in processes[:8]:
        reading(core, shared)
    changed = tmp_path / "changed.core"
    contents = processes[8].read_bytes()
    assert before in contents
    changed.write_bytes(contents.replace(before, after))
    found = reading(changed, shared)
    options = found["runtime"]["options"]
    assert {name: options[name] for name in said} == said
    assert found == reading(changed, Finder())
    # And the process after it is not taken in by the changed one.
    assert reading(processes[9], shared) == reading(processes[9], Finder())
