"""What holds for the whole machine: the kernel's settings and the keeper of cores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from triage.doctor.pattern import Pattern
from triage.doctor.processes import outside_view

_SYSTEMD = (
    Path("/usr/lib/systemd/coredump.conf"),
    Path("/etc/systemd/coredump.conf"),
    Path("/usr/lib/systemd/coredump.conf.d"),
    Path("/etc/systemd/coredump.conf.d"),
    Path("/run/systemd/coredump.conf.d"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """`suid_dumpable` is fs.suid_dumpable; `contained` whether this program runs in a container.

    `keeper` has the settings of systemd-coredump or apport, by name, as written there.
    """

    pattern: Pattern
    suid_dumpable: int
    contained: bool
    keeper: Mapping[str, str] = field(default_factory=dict)


def read_host() -> Host:
    """The facts of this machine."""
    pattern = Pattern(_sysctl("kernel/core_pattern") or "core", _sysctl("kernel/core_uses_pid") == "1")
    keeper: Mapping[str, str] = {}
    if pattern.handler == "systemd-coredump":
        keeper = systemd_settings()
    elif pattern.handler == "apport":
        keeper = _apport_settings()
    return Host(
        pattern=pattern,
        suid_dumpable=int(_sysctl("fs/suid_dumpable") or 0),
        contained=outside_view(),
        keeper=keeper,
    )


def _sysctl(name: str) -> str:
    with suppress(OSError):
        return (Path("/proc/sys") / name).read_text().strip()
    return ""


def systemd_settings(places: tuple[Path, ...] = _SYSTEMD) -> dict[str, str]:
    """coredump.conf(5) with its drop-ins, later ones over earlier ones."""
    found: dict[str, str] = {}
    for place in places:
        for file in sorted(place.glob("*.conf")) if place.is_dir() else [place]:
            with suppress(OSError):
                found.update(re.findall(r"(?m)^\s*(\w+)\s*=\s*(.*?)\s*$", file.read_text(errors="replace")))
    return found


def _apport_settings() -> dict[str, str]:
    found: dict[str, str] = {}
    for place in (Path("/etc/default/apport"), Path("/etc/apport/settings")):
        with suppress(OSError):
            found.update(re.findall(r"(?m)^\s*(\w+)\s*=\s*(.*?)\s*$", place.read_text(errors="replace")))
    return found


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def byte_count(text: str) -> int | None:
    """A size in systemd's notation (`2G`); `infinity` is no bound at all, hence `None`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip())
    return int(float(found[1]) * _UNITS[found[2]]) if found else None
