"""scripts/runtime-layouts: tables of Python, Perl and Ruby made anew, compared with the shipped ones or written."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from tests.lab.headers import unpack
from tests.lab.layouts import differences
from tests.lab.suites import CannotMake
from triage.errors import TriageError
from triage.runtimes.donor import Table, render
from triage.runtimes.perl import donor as perl
from triage.runtimes.python import donor as python
from triage.runtimes.ruby import donor as ruby

PYTHONS = (("bullseye", "3.9"), ("bookworm", "3.11"), ("trixie", "3.13"), ("sid", "3.14"), ("sid", "3.15"))
PERLS = (("bullseye", "5.32"), ("bookworm", "5.36"), ("trixie", "5.40"), ("sid", "5.42"))
_FREE_THREADED_SINCE = 13


def shipped(language: str, key: str) -> Path:
    """The file of a table."""
    return Path(str(resources.files(f"triage.runtimes.{language}"))) / "layouts" / f"{key}.json"


def python_tables(headers: Path) -> Iterator[Table]:
    """The tables of the Python whose headers are in a folder; both kinds where there is a free-threaded one."""
    table = python.layout_table(headers)
    yield table
    if int(str(table["version"]).partition(".")[2]) >= _FREE_THREADED_SINCE:
        yield python.layout_table(headers, free_threaded=True)


def fetched() -> Iterator[tuple[str, Table]]:
    """Tables from Debian's own packages of headers. Ruby's structures are in its source only.

    Raises:
        CannotMake: when a package cannot be had.
    """
    for suite, version in PYTHONS:
        place = unpack(suite, f"libpython{version}-dev-amd64", (f"libpython{version}-dev",), "amd64")
        yield from (("python", table) for table in python_tables(place / "usr/include" / f"python{version}"))
    for suite, version in PERLS:
        place = unpack(suite, f"perl{version}-dev", (f"libperl{version}", "perl"), "amd64")
        headers = next(iter(sorted(place.glob("usr/lib/*/perl/*.*.*/CORE"))), None)
        if headers is None:
            raise CannotMake(f"{place} holds no headers of Perl")
        yield "perl", perl.layout_table(headers)


def given(options: argparse.Namespace) -> Iterator[tuple[str, Table]]:
    """Tables from the folders named on the command line."""
    for name in options.python:
        yield from (("python", table) for table in python_tables(Path(name)))
    for name in options.perl:
        yield "perl", perl.layout_table(Path(name))
    for source, config in options.ruby:
        yield "ruby", ruby.layout_table(Path(source), Path(config))


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all tables are as shipped (or were written), 1 when one differs, 3 when something is lacking."""
    options = _parser().parse_args(arguments)
    try:
        tables = [*given(options), *(fetched() if options.fetch else ())]
    except (CannotMake, TriageError) as error:
        print(f"scripts/runtime-layouts: {error}", file=sys.stderr)
        return 3
    count = 0
    for language, table in tables:
        path = shipped(language, table["version"])
        old = json.loads(path.read_text()) if path.exists() else {}
        lines = [f"{language} {table['version']}: {line}" for line in differences(old, table)]
        count += len(lines)
        print(*lines, sep="\n", end="\n" if lines else "")
        if options.write:
            path.write_text(render(table))
    verb = "written" if options.write else "compared"
    names = ", ".join(f"{language} {table['version']}" for language, table in tables)
    print(f"{verb}: {names}; {count} differences", file=sys.stderr)
    return 1 if count and not options.write else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/runtime-layouts", description=__doc__)
    parser.add_argument(
        "--python", action="append", default=[], metavar="HEADERS", help="a folder with Python.h in it"
    )
    parser.add_argument("--perl", action="append", default=[], metavar="CORE", help="a folder with perl.h in it")
    parser.add_argument("--ruby", action="append", default=[], nargs=2, metavar=("SOURCE", "CONFIG"),
                        help="Ruby's source, and the folder with ruby/config.h in it")  # fmt: skip
    parser.add_argument("--fetch", action="store_true", help="Debian's headers of Python and Perl, not installed")
    parser.add_argument("--write", action="store_true", help="write the tables instead of comparing them")
    return parser


if __name__ == "__main__":
    sys.exit(main())
