"""What the diagnosis says of crashes made on purpose: one of each family here, all 192 with --whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import faults
from tests.lab.suites import CannotMake


def _table(folder: Path, *, quick: bool) -> list[str]:
    try:
        judged = list(faults.run(folder, ["stripped"], faults.QUICK) if quick else faults.run(folder))
    except CannotMake as reason:
        pytest.skip(str(reason))
    return list(faults.table(judged))


def test_each_family_is_told_right(tmp_path: Path) -> None:
    lines = _table(tmp_path, quick=True)
    assert [line for line in lines[:-1] if not line.startswith("ok ")] == []
    count = len(faults.QUICK)
    assert lines[-1] == (
        f"{count} crashes of {count} kinds: {count} right (100.0 %), 0 with a wrong finding marked proved"
    )


@pytest.mark.whole
def test_all_of_them_with_symbols_and_stripped(tmp_path: Path) -> None:
    lines = _table(tmp_path, quick=False)
    assert [line for line in lines[:-1] if not line.startswith("ok ")] == []
    assert lines[-1].startswith("192 crashes of 96 kinds: 192 right (100.0 %), 0 with")
