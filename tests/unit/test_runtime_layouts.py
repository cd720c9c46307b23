"""The tables of Python and Perl against the headers of this machine; the loader and the donor by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import runtime_layouts
from triage.errors import InputError
from triage.runtimes.donor import table_from_debug_information
from triage.runtimes.layout import known, load
from triage.runtimes.perl.donor import layout_table as perl_table
from triage.runtimes.python.donor import layout_table as python_table

_PYTHON = sorted(Path("/usr/include").glob("python3.*/Python.h"))
_PERL = sorted(Path("/usr/lib").glob("*/perl/5.*.*/CORE/perl.h"))
_BUILDS = sorted(Path.home().glob(".pyenv/versions/3.*/lib/libpython3.*.so.1.0"))


def test_headers_of_this_machine_give_the_shipped_tables(capsys: pytest.CaptureFixture[str]) -> None:
    if not _PYTHON or not _PERL:
        pytest.skip("no headers here: apt install python3-dev libperl-dev")
    arguments = ["--python", str(_PYTHON[0].parent), "--perl", str(_PERL[0].parent)]
    assert runtime_layouts.main(arguments) == 0
    assert capsys.readouterr().err.endswith("; 0 differences\n")


@pytest.mark.whole
@pytest.mark.parametrize("path", _BUILDS, ids=lambda path: path.parent.parent.name)
def test_debug_information_of_real_builds_agrees(path: Path) -> None:
    """What the headers say is what the compiler of a real build made of them, in all but the size of the whole."""
    key = path.name.removeprefix("libpython").removesuffix(".so.1.0")
    layout = load("triage.runtimes.python", key)
    if layout is None:
        pytest.skip(f"Python {key} was never measured")
    made = table_from_debug_information("triage.runtimes.python", key, path)
    for struct, entry in made["structs"].items():
        assert {name: layout.place(struct, name) for name in entry["fields"]} == {
            name: tuple(place) for name, place in entry["fields"].items()
        }


def test_every_table_loads() -> None:
    assert known("triage.runtimes.python") == (
        *("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t", "3.15", "3.15t"),
    )
    assert known("triage.runtimes.perl") == ("5.32", "5.36", "5.40", "5.42")
    assert known("triage.runtimes.ruby") == ("3.1", "3.3")
    for language in ("python", "perl", "ruby"):
        for key in known(f"triage.runtimes.{language}"):
            assert load(f"triage.runtimes.{language}", key) is not None
    assert load("triage.runtimes.python", "2.7") is None


def test_what_is_no_header_is_refused(tmp_path: Path) -> None:
    for make in (python_table, perl_table):
        with pytest.raises(InputError, match="does not say which"):
            make(tmp_path)
    (tmp_path / "patchlevel.h").write_text('#define PY_VERSION "3.11.2"\n')
    with pytest.raises(InputError, match=r"cannot be compiled: .*Python\.h"):
        python_table(tmp_path)
