"""Crashes in innocent Python code that share one version of an extension, from the cores to its name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.lab.python import SCRIPTS, build_extension, system_python
from tests.lab.suites import CannotMake
from triage.cli.main import triage
from triage.demo.lab import Process, crash

pytestmark = [pytest.mark.python, pytest.mark.gdb]

INNOCENT = {"sort": "sort_prices", "find": "find", "tidy": "tidy"}
_GOOD, _BAD = "2.1.0", "2.2.0"


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crashes with the codec that damages memory, in three places, and others with the version before it."""
    folder = tmp_path_factory.mktemp("blame")
    wanted = [(_BAD, "shop.py", what, turn) for what in INNOCENT for turn in range(2)]
    wanted += [(_GOOD, "extension.py", "null", turn) for turn in range(3)]
    try:
        python = system_python()
        for version in (_GOOD, _BAD):
            build_extension(folder / version, python, version)
    except CannotMake as reason:
        pytest.skip(str(reason))
    (folder / "cores").mkdir()
    (folder / "run").mkdir()
    for version, script, what, turn in wanted:
        argv = (python.path, str(SCRIPTS / script), what, str(folder / version))
        environment = {"TRIAGE_ORACLE": os.devnull, "PYTHONPATH": str(SCRIPTS), "PYTHONDONTWRITEBYTECODE": "1"}
        process = Process(argv=argv, folder=folder / "run", env=environment)
        crash(process, folder / "cores" / f"{what}-{turn}.core")
    return folder / "cores"


def _run(*arguments: str) -> str:
    done = CliRunner().invoke(triage, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("what", INNOCENT)
def test_one_core_says_victim_and_whom_to_look_at_first(cores: Path, what: str) -> None:
    crash: dict[str, Any] = json.loads(_run("show", str(cores / f"{what}-0.core"), "--json"))
    innermost = next(frame for frame in crash["threads"][0]["frames"] if frame["kind"] == "python")
    assert innermost["function"] == INNOCENT[what]
    assert crash["runtime"]["extensions"]["faulty_codec"] == _BAD
    findings = {finding["rule"]: finding for finding in crash["findings"]}
    assert findings["poison"]["evidence"][0].endswith("0x4545454545454545")
    assert "is the victim, not the cause" in findings["victim"]["title"]
    assert findings["blame"]["title"].endswith(f"come first: faulty_codec {_BAD}")
    assert findings["blame"]["confidence"] == "guess"


def test_what_the_crashes_share(cores: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'crashes.db'}"
    _run("batch", str(cores), "--store", store)
    clusters = json.loads(_run("clusters", "--json", "--store", store))
    assert sorted(cluster["count"] for cluster in clusters) == [2, 2, 2, 3]
    own = next(cluster for cluster in clusters if "sort_prices" in cluster["title"])
    told = " ".join(_run("why", own["id"], "--store", store).split())
    assert f"extension faulty_codec {_BAD}" in told
    assert f"faulty_codec {_GOOD}" not in told
