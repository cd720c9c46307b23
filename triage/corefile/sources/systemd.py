"""The store of systemd-coredump: /var/lib/systemd/coredump (systemd 215 and later).

A file is called `core.COMM.UID.BOOT.PID.MICROSECONDS`, with `.zst`, `.lz4` or `.xz` behind it, and
carries the same and more as extended attributes, which plain copies lose (src/coredump/coredump.c).
The journal has the rest where this user may read it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from triage import clock
from triage.corefile.sources.journal import Journal
from triage.model import Origin
from triage.text import from_bytes, number

_NAME = re.compile(
    r"core\.(?P<comm>.+)\.(?P<user>\d{1,10})\.[0-9a-f]{32}\.(?P<pid>\d{1,10})\.(?P<time>\d{15,17})(\.\w+)?"
)
_CONTAINER = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_MICROSECONDS = 1e6


def told(name: str, descriptor: int, journal: Journal, path: str) -> Origin | None:
    """What the store says of the file, `None` for a file that is not of that store."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    origin = Origin(
        kind="systemd-coredump",
        time=clock.from_epoch(int(found["time"]) / _MICROSECONDS),
        time_from="name",
        pid=int(found["pid"]),
        user=int(found["user"]),
    )
    return _with_journal(_with_attributes(origin, _attributes(descriptor)), journal.coredump(path))


def _attributes(descriptor: int) -> Mapping[str, str]:
    prefix = "user.coredump."
    try:
        names = os.listxattr(descriptor)
        return {
            name.removeprefix(prefix): from_bytes(os.getxattr(descriptor, name))
            for name in names
            if name.startswith(prefix)
        }
    except OSError:
        return {}  # a file system without them


def _with_attributes(origin: Origin, attributes: Mapping[str, str]) -> Origin:
    stamp = number(attributes.get("timestamp", ""))
    time = None if stamp is None else clock.told(stamp / _MICROSECONDS)
    return replace(
        origin,
        time=time or origin.time,
        time_from="attribute" if time else origin.time_from,
        host=attributes.get("hostname") or origin.host,
        executable=attributes.get("exe") or origin.executable,
    )


def _with_journal(origin: Origin, entry: Mapping[str, str]) -> Origin:
    return replace(
        origin,
        host=entry.get("COREDUMP_HOSTNAME") or entry.get("_HOSTNAME") or origin.host,
        executable=entry.get("COREDUMP_EXE") or origin.executable,
        unit=entry.get("COREDUMP_UNIT"),
        container=container_of(entry.get("COREDUMP_CGROUP", "")),
        package=_package(entry),
    )


def _package(entry: Mapping[str, str]) -> str | None:
    parts = (entry.get("COREDUMP_PACKAGE_NAME"), entry.get("COREDUMP_PACKAGE_VERSION"))
    return " ".join(part for part in parts if part) or None


def container_of(cgroup: str) -> str | None:
    """The container's id in a control group's path (docker, containerd, podman), cut to 12 digits as they show it."""
    found = _CONTAINER.search(cgroup)
    return found[1][:12] if found else None
