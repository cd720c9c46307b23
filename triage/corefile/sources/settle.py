"""Whether a file is still being written.

A core that ends early is either cut off for good or not finished yet. The kernel knows: it grants
no read lease on a file that is open for writing, by the kernel itself or by any process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time

from triage import clock

_YOUNG = 120.0
"""Seconds since the last write within which a short file is looked at closely."""
_LOOK = 0.25
_LOOKS = 2


def still_written(descriptor: int) -> bool:
    """Whether somebody is writing the open file; one last written minutes ago is not."""
    begun = os.fstat(descriptor)
    if abs(clock.now().timestamp() - begun.st_mtime) > _YOUNG:
        return False
    if _open_for_writing(descriptor):
        return True
    for _ in range(_LOOKS):  # a copy from elsewhere may open and close it for each part
        time.sleep(_LOOK)
        now = os.fstat(descriptor)
        if (now.st_size, now.st_mtime_ns) != (begun.st_size, begun.st_mtime_ns):
            return True
    return False


def _open_for_writing(descriptor: int) -> bool:
    """By the lease; `False` also where no lease can be had (not our file, a network's file system)."""
    try:
        # A writer that comes while we hold it would have us signalled, by default with one that kills.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
