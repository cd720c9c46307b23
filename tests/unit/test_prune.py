"""Retention: the best cores of each cluster stay, every record stays, and nothing else is touched."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.store.samples import START, crash, triaged
from triage.cli.main import triage
from triage.model import Status
from triage.store import InputStamp, open_store


def _stamp(path: Path) -> InputStamp:
    status = path.stat()
    return InputStamp(size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


@pytest.fixture
def cores(tmp_path: Path) -> Path:
    """Ten crashes of one kind, two of another; one core changed since, one is a link."""
    with open_store(f"sqlite:///{tmp_path}/db") as store:
        for number in range(12):
            core = tmp_path / f"core.{number:02d}"
            core.write_bytes(bytes([number + 1]) * 5000)
            one = crash(f"{number:08x}", key="v1:a" if number < 10 else "v1:b", core=str(core),
                        time=START + timedelta(hours=number))  # fmt: skip
            if number == 9:
                one = replace(one, status=Status.PARTIAL)  # the newest, but cut off
            store.save(triaged(one), _stamp(core))
    (tmp_path / "core.04").write_bytes(b"another file now")
    return tmp_path


def _prune(cores: Path, *arguments: str) -> list[str]:
    command = ["prune", "--json", "--store", f"sqlite:///{cores}/db", *arguments]
    result = CliRunner().invoke(triage, command, catch_exceptions=False)
    return [Path(path).name for path in json.loads(result.stdout)["cores"]]


def test_the_first_and_the_best_stay_and_all_records(cores: Path) -> None:
    spare = [f"core.{number:02d}" for number in (9, 6, 5, 3, 2, 1)]
    assert _prune(cores) == spare
    assert len(list(cores.glob("core.*"))) == 12
    assert _prune(cores, "--delete") == spare
    assert sorted(path.name for path in cores.glob("core.*")) == [
        "core.00", "core.04", "core.07", "core.08", "core.10", "core.11",
    ]  # fmt: skip
    with open_store(f"sqlite:///{cores}/db") as store:
        assert sorted(cluster.count for cluster in store.clusters()) == [2, 10]
        assert store.crash("00000001").core == str(cores / "core.01")
    assert _prune(cores, "--delete") == []
