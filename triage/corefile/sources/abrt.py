"""Problem folders of ABRT: /var/spool/abrt/ccpp-…/, one small file for each thing known.

The core is the file `coredump`, compressed in newer ones (`coredump.zst`). The names are those of
libreport's problem_data.h.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from triage import clock
from triage.corefile.sources.systemd import container_of
from triage.errors import InputError
from triage.model import Origin
from triage.text import from_bytes, number

_MARKS = ("time", "uid", "executable")
_MARK = "analyzer", "type"
_CORE = re.compile(r"coredump(\.(zst|lz4|xz|gz))?")
_LONGEST = 1 << 16


def is_problem(folder: Path, names: list[str]) -> bool:
    """Whether a folder with these files is a problem folder."""
    return all(name in names for name in _MARKS) and any(name in names for name in _MARK)


def core_of(folder: Path, names: list[str]) -> Path:
    """The problem's core; where it should be when there is none."""
    return folder / next((name for name in sorted(names) if _CORE.fullmatch(name)), "coredump")


def told(path: Path) -> Origin | None:
    """What the folder around a core says; `None` when that is no problem folder."""
    if not _CORE.fullmatch(path.name):
        return None
    try:
        names = [child.name for child in path.parent.iterdir()]
    except OSError:
        return None
    if not is_problem(path.parent, names):
        return None
    return _origin(path.parent)


def missing(path: Path) -> InputError | None:
    """Why there is no core at `path`, when that is the place for one in a problem folder."""
    if told(path) is None or path.exists():
        return None
    return InputError(
        "no-core",
        "a problem folder of ABRT without a core",
        help="ABRT leaves cores out above MaxCoreFileSize (/etc/abrt/plugins/CCpp.conf) or deletes them when full.",
    )


def _origin(folder: Path) -> Origin:
    stamp, user, pid, count = (_number(folder / name) for name in ("time", "uid", "pid", "count"))
    time = clock.told(stamp)
    return Origin(
        kind="abrt",
        time=time,
        time_from="report" if time else None,
        host=_text(folder / "hostname"),
        pid=pid if pid is not None else _number(folder / "global_pid"),
        user=user,
        executable=_text(folder / "executable"),
        arguments=tuple((_text(folder / "cmdline") or "").split()),
        container=(_text(folder / "container_id") or "")[:12] or container_of(_text(folder / "cgroup") or ""),
        package=_text(folder / "package"),
        occurrences=count,
    )


def _text(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None  # not every problem has every element
    with os.fdopen(descriptor, "rb") as stream:
        return from_bytes(stream.read(_LONGEST)).strip() or None


def _number(path: Path) -> int | None:
    text = _text(path)
    return None if text is None else number(text)
