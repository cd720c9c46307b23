"""Perl's layout tables made anew from its headers: the folder `CORE` of a perl, which Debian has in package perl."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from triage.errors import InputError
from triage.runtimes.donor import Table, table_from_headers

_VERSION = re.compile(r"^#define PERL_VERSION\s+(\d+)", re.MULTILINE)
_FLAGS = ("-D_REENTRANT", "-D_LARGEFILE_SOURCE", "-D_FILE_OFFSET_BITS=64", "-fwrapv")


def layout_table(headers: Path, *, compiler: Sequence[str] = ("gcc",)) -> Table:
    """The table of the Perl whose `perl.h` is in `headers`.

    Raises:
        EnvironmentLacks: when there is no such compiler.
        InputError: when the headers cannot be compiled, or are not Perl's.
    """
    patchlevel = headers / "patchlevel.h"
    version = _VERSION.search(patchlevel.read_text("utf-8")) if patchlevel.is_file() else None
    if version is None:
        raise InputError("not-headers", f"{headers} does not say which Perl it is of")
    return table_from_headers(__package__, f"5.{version[1]}", [headers], flags=_FLAGS, compiler=compiler)
