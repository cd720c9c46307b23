"""The workers of one php-fpm master are copies of it: what one said holds for the next, where memory is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crashes.alike import a_change_is_seen, read_as_alone, recorded_as_alone
from tests.lab.fpm import find_fpm
from tests.lab.php import CASES
from tests.lab.worker import serving
from triage.corefile import open_core
from triage.corefile.twins import Twins
from triage.symbols import Finder

pytestmark = [pytest.mark.php, pytest.mark.gdb]

_PAGES = ("kill-main", "callbacks", "generator", "include")


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Each page three times, one after the other."""
    program = find_fpm()
    if program is None:
        pytest.skip("no php-fpm here: apt install php-fpm")
    folder = tmp_path_factory.mktemp("twins")
    pages = [case for case in CASES if case.name in _PAGES]
    options = ("-d", "memory_limit=211M", "-d", "user_agent=twin-of-all")
    with serving(program, folder, None, options) as server:
        return [server.crash(page, folder / f"{page.name}-{turn}.core").core for turn in range(3) for page in pages]


def _recalled(finder: Finder) -> dict[str, int]:
    """How often each question was answered from memory."""
    found: dict[str, int] = {}
    for question, kind in finder.kept(Twins)._twins._kinds.items():
        what = str(question[1]) if isinstance(question, tuple) else str(question)
        found[what] = found.get(what, 0) + kind.asked - len(kind.found)
    return found


def test_a_twin_reads_as_it_does_alone(workers: list[Path]) -> None:
    known = _recalled(read_as_alone(workers))
    # Of 24 readings all but the first few of each were answered by another worker's.
    assert {what for what, count in known.items() if count >= 12} >= {"extensions", "options", "environment", "names"}


def test_the_records_of_twins_are_those_of_a_pipeline_that_saw_no_other(workers: list[Path]) -> None:
    recorded_as_alone(workers)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (b"twin-of-all", b"twin-of-few", {"user_agent": "twin-of-few"}),
        (b"211M\0", b"212M\0", {"memory_limit": "212M"}),
    ],
)
def test_one_byte_that_differs_is_seen(
    workers: list[Path], tmp_path: Path, before: bytes, after: bytes, told: dict[str, str]
) -> None:
    """A worker whose settings are others than its twins', by the memory of its core."""
    a_change_is_seen(workers, tmp_path, before, after, told)


def test_other_files_at_the_same_addresses_are_no_twin(workers: list[Path], tmp_path: Path) -> None:
    """Modules count by what their first bytes say, not by where they lie."""
    with open_core(workers[0]) as core:
        build = next(module.build_id for module in core.modules if module.path.endswith("/posix.so"))
    assert build is not None
    changed = tmp_path / "changed.core"
    raw = bytes.fromhex(build)
    changed.write_bytes(workers[1].read_bytes().replace(raw, raw[::-1]))
    with open_core(workers[2]) as one, open_core(workers[3]) as other, open_core(changed) as third:
        assert one.modules is other.modules
        assert third.modules != one.modules
        assert next(m.build_id for m in third.modules if m.path.endswith("/posix.so")) == raw[::-1].hex()
