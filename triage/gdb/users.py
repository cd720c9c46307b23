"""As whom GDB runs when root starts it: somebody without rights, if the files can still be read."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class User:
    """A user to become, by number, with one group and no others."""

    uid: int
    gid: int
    name: str


def unprivileged(core: Path, others: Iterable[Path]) -> User | None:
    """Who can read all of these: `nobody`, else the core's owner; the latter also when it can read the core only.

    `None`: we are not root, or only root can read the core.
    """
    if os.geteuid() != 0:
        return None
    candidates = [_named(_NOBODY), _owner(core)]
    reading = [user for user in candidates if user is not None and may_read(user, core)]
    files = list(others)
    for user in reading:
        if all(may_read(user, path) for path in files):
            return user
    return reading[0] if reading and all(may_read(reading[0], path) for path in files[:1]) else None


def _named(uid: int) -> User:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(uid, uid, str(uid))
    return User(uid, entry.pw_gid, entry.pw_name)


def _owner(core: Path) -> User | None:
    try:
        uid = core.stat().st_uid
    except OSError:
        return None
    return _named(uid) if uid != 0 else None


def may_read(user: User, path: Path) -> bool:
    """Whether the permission bits of the file, and of each folder above it, let the user read it."""
    try:
        real = path.resolve(strict=True)
        return _granted(user, real.stat(), 4) and all(_granted(user, above.stat(), 1) for above in real.parents)
    except OSError:
        return False


def _granted(user: User, status: os.stat_result, right: int) -> bool:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == user.uid:
        return bool(mode >> 6 & right)
    if status.st_gid == user.gid:
        return bool(mode >> 3 & right)
    return bool(mode & right)
