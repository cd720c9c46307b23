"""Ruby's layout tables made anew: from its source (vm_core.h is in no package of headers) and its `ruby/config.h`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from triage.errors import InputError
from triage.runtimes.donor import Table, table_from_headers

_VERSION = re.compile(r"^#define RUBY_API_VERSION_(MAJOR|MINOR)\s+(\d+)", re.MULTILINE)
_FLAGS = ("-DRUBY_EXPORT", "-std=gnu11")


def layout_table(source: Path, config: Path, *, compiler: Sequence[str] = ("gcc",)) -> Table:
    """The table of the Ruby whose source is in `source`; `config` is the folder that has `ruby/config.h` in it.

    Raises:
        EnvironmentLacks: when there is no such compiler.
        InputError: when it cannot be compiled, or is not Ruby's source.
    """
    header = source / "include" / "ruby" / "version.h"
    found = dict(_VERSION.findall(header.read_text("utf-8"))) if header.is_file() else {}
    if len(found) != 2:
        raise InputError("not-headers", f"{source} does not say which Ruby it is of")
    folders = [config, source / "include", source]
    return table_from_headers(
        __package__, f"{found['MAJOR']}.{found['MINOR']}", folders, flags=_FLAGS, compiler=compiler
    )
