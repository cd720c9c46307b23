"""What `triage collect` keeps: a core and, beside it, a small JSON file about the process.

The JSON file is written first and stays when a core is left out, so that no crash goes uncounted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triage import clock
from triage.model import Origin

FORMAT = "triage-collect-1"
SUFFIX = ".triage.json"
STATE = ".state"
"""The folder in which it counts."""
_LONGEST = 4 << 20
_NO_NUMBER = 1 << 40
"""No process or user has it, and not every database could keep what is larger."""


def sidecar(core: Path) -> Path:
    """The JSON file of a core."""
    return core.with_name(core.name.partition(".core")[0] + SUFFIX)


def told(core: Path) -> Origin | None:
    """What the file beside a core says; `None` when there is none."""
    facts = read(sidecar(core)) if ".core" in core.name else None
    return origin(facts) if facts is not None else None


def read(path: Path) -> Mapping[str, Any] | None:
    """The facts in such a JSON file; `None` when it is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        try:
            facts = json.loads(stream.read(_LONGEST))
        except (ValueError, RecursionError):
            return None
    return facts if isinstance(facts, dict) and facts.get("format") == FORMAT else None


def origin(facts: Mapping[str, Any]) -> Origin:
    """The same as a record."""
    stamp = facts.get("time")
    time = clock.told(stamp) if isinstance(stamp, int | float) else None
    arguments = facts.get("arguments")
    return Origin(
        kind="collect",
        time=time,
        time_from="kernel" if time else None,
        host=_text(facts, "host"),
        pid=_number(facts, "pid"),
        user=_number(facts, "user"),
        executable=_text(facts, "executable"),
        arguments=tuple(str(part) for part in arguments) if isinstance(arguments, list) else (),
        container=_text(facts, "container"),
        unit=_text(facts, "unit"),
    )


def _text(facts: Mapping[str, Any], name: str) -> str | None:
    value = facts.get(name)
    return value if isinstance(value, str) and value else None


def _number(facts: Mapping[str, Any], name: str) -> int | None:
    value = facts.get(name)
    return value if isinstance(value, int) and abs(value) < _NO_NUMBER else None
