"""Which GDB is taken, and what is said when none will do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from triage.errors import EnvironmentLacks
from triage.gdb.locate import Unfit, find_gdb, probe


def _script(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.gdb
def test_the_system_gdb_comes_first() -> None:
    gdb = find_gdb()
    assert gdb.origin == "system"
    assert gdb.version >= (12,)
    assert gdb.version_text.startswith("GNU gdb")


def test_the_first_that_works_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("old", "GNU gdb (GDB) 9.2"), ("good", "GNU gdb (Distro 14.1-2) 14.1")):
        (tmp_path / name).mkdir()
        _script(tmp_path / name, "gdb", f"echo '{text}'; echo python-inside 3.11.2")
    monkeypatch.setenv("PATH", f"{tmp_path}/old:{tmp_path}/nothing:{tmp_path}/good:/bin")
    gdb = find_gdb()
    assert (gdb.argv, gdb.version, gdb.version_text) == (
        (f"{tmp_path}/good/gdb",),
        (14, 1),
        "GNU gdb (Distro 14.1-2) 14.1",
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo 'GNU gdb (GDB) 9.2'; echo python-inside 3.8", "GNU gdb (GDB) 9.2 is older than version 12"),
        ("echo 'GNU gdb (GDB) 15.1'", "GNU gdb (GDB) 15.1 was built without Python, or its Python does not start"),
        ("echo 'libpython3.11.so.1.0: cannot open'; exit 127",
         "it did not say its version: libpython3.11.so.1.0: cannot open"),
        ("exit 0", "it did not say its version: it printed nothing"),
    ],
)  # fmt: skip
def test_why_one_will_not_do(tmp_path: Path, body: str, reason: str) -> None:
    path = _script(tmp_path, "gdb", body)
    with pytest.raises(Unfit) as error:
        probe((str(path),), "chosen", {})
    assert str(error.value) == reason


def test_a_gdb_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.gdb.locate._PROBE_SECONDS", 1)
    with pytest.raises(Unfit, match="no answer within 1 s"):
        probe((str(_script(tmp_path, "gdb", "exec sleep 60")),), "chosen", {})


def test_none_at_all_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _script(tmp_path, "gdb", "echo 'GNU gdb (GDB) 9.2'")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("triage.gdb.locate._WHEEL", "no_such_wheel")
    with pytest.raises(EnvironmentLacks) as error:
        find_gdb()
    assert error.value.message == (
        f"no GDB on this machine can be used ({tmp_path}/gdb: GNU gdb (GDB) 9.2 is older than version 12)"
    )
    assert error.value.help is not None
    assert "apt install gdb" in error.value.help
    assert error.value.exit_status == 3


def test_the_chosen_one_is_the_only_candidate(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacks, match="cannot be started"):
        find_gdb(str(tmp_path / "missing"))


def test_the_wheels_start_script_is_no_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would ask questions; the program inside the wheel is started instead."""
    pytest.importorskip("gdb_for_pwndbg")
    monkeypatch.setenv("PATH", str(Path(sys.prefix) / "bin"))
    try:
        gdb = find_gdb()
    except EnvironmentLacks as error:
        assert "libpython" in error.message  # noqa: PT017 — a machine without that library
        return
    assert gdb.origin == "wheel"
    assert gdb.argv[0].endswith("_vendor/bin/gdb")
