"""CPython's layout tables made anew from its headers: those of `python3.X-dev`, `include/python3.X` of a build."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from triage.errors import InputError
from triage.runtimes.donor import Table, table_from_headers

_VERSION = re.compile(r'^#define PY_VERSION\s+"(\d+\.\d+)', re.MULTILINE)


def layout_table(headers: Path, *, free_threaded: bool = False, compiler: Sequence[str] = ("gcc",)) -> Table:
    """The table of the Python whose `Python.h` is in `headers`.

    Debian's `pyconfig.h` leads to another one, by its path below the folder that `headers` is in.

    Raises:
        EnvironmentLacks: when there is no such compiler.
        InputError: when the headers cannot be compiled, or are not Python's.
    """
    patchlevel = headers / "patchlevel.h"
    version = _VERSION.search(patchlevel.read_text("utf-8")) if patchlevel.is_file() else None
    if version is None:
        raise InputError("not-headers", f"{headers} does not say which Python it is of")
    key = version[1] + ("t" if free_threaded else "")
    folders = [headers, headers / "internal", headers.parent]
    flags = ("-DPy_GIL_DISABLED=1",) if free_threaded else ()
    return table_from_headers(__package__, key, folders, flags=flags, compiler=compiler)
