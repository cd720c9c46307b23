"""Processes started one by one have the same files elsewhere: what one said holds for the next, moved."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.alike import a_change_is_seen, read_as_alone, recorded_as_alone
from tests.lab.php import CASES, Interpreter, make
from triage.corefile import CoreFile, open_core
from triage.corefile.twins import Kept, Twins
from triage.demo.crashes import find_php

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
    read_as_alone(processes)
    # Of 24 readings all but the first few of each were answered by another process's.
    assert {what for what, count in told.items() if count >= 12} == {"extensions", "options", "names"}


def test_the_records_are_those_of_a_pipeline_that_saw_no_other(processes: list[Path], told: Counter[str]) -> None:
    recorded_as_alone(processes)
    assert min(told[what] for what in ("extensions", "options", "names")) >= 6


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
    a_change_is_seen(processes, tmp_path, before, after, said)
