"""The kernel starts a core's taker as root; it keeps only what it needs."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_NO_NEW_PRIVILEGES = 38
_CAPABILITY_VERSION_3 = 0x20080522


def give_up(folder: Path) -> None:
    """Become the owner of the folder, without any capability and without a way to more rights. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        owner = folder.stat()
        if owner.st_uid != 0:
            os.setgroups([])
            os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
            os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
        else:  # root without capabilities may still write into root's own folder
            head, none = struct.pack("<II", _CAPABILITY_VERSION_3, 0), bytes(24)
            if libc.capset(head, none) != 0:
                raise OSError(ctypes.get_errno(), "capset")
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
