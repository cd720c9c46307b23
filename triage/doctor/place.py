"""Where a process's core would go, asked as that process: its mounts, its root, its user, its rights.

A child takes on all of these and asks the kernel. Nothing is written.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triage.doctor.pattern import Pattern
from triage.doctor.processes import Process

_CLONE_NEWNS = 0x00020000
_CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The answer. `folder` and `file` as the process names them; `free` bytes there, `None` if unknown.

    `problem` says why the core could not be written; `unknown` why that cannot be told from here.
    """

    folder: str
    file: str
    problem: str | None = None
    free: int | None = None
    unknown: str | None = None


def place_of(process: Process, pattern: Pattern, *, as_root: bool) -> Place:
    """Where its core would go; `as_root` as root and from the system's own root folder (suid_dumpable 2)."""
    file = pattern.expand(values_of(process))
    try:
        cwd = str(Path(f"/proc/{process.pid}/cwd").readlink())
    except OSError:
        cwd = "?"
    whole = file if file.startswith("/") else f"{cwd.rstrip('/')}/{file}"
    folder = whole.rsplit("/", 1)[0] or "/"
    if os.geteuid() != 0 and os.geteuid() != process.user:
        return Place(folder=folder, file=whole, unknown="only root can look with that user's eyes")
    answer = _ask(process, file, as_root=as_root)
    return Place(
        folder=folder,
        file=whole,
        problem=answer.get("problem"),
        free=answer.get("free"),
        unknown=answer.get("unknown"),
    )


def values_of(process: Process) -> Mapping[str, str]:
    """What stands for each letter of the pattern; the time, which is not known yet, is that of the epoch."""
    limit = str(process.limit)
    return {
        "p": str(process.pid), "P": str(process.pid), "i": str(process.pid), "I": str(process.pid),
        "u": str(process.user), "g": str(process.group), "s": "11", "t": "0", "h": os.uname().nodename,
        "e": process.name, "f": process.executable.rsplit("/", 1)[-1], "E": process.executable, "c": limit,
        "d": "1" if process.dumpable else "0",
    }  # fmt: skip


def _ask(process: Process, file: str, *, as_root: bool) -> dict[str, Any]:
    """Fork, become the process, ask, and bring the answer back."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        answer: dict[str, Any] = {"unknown": "the question could not be asked"}
        try:
            os.close(read)
            answer = _as_process(process, file, as_root=as_root)
        except OSError as error:
            answer = {"unknown": f"its view of the file system cannot be taken on: {os.strerror(error.errno or 0)}"}
        finally:
            os.write(write, json.dumps(answer).encode())
            os._exit(0)  # nothing of the parent's may run here twice
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    found: dict[str, Any] = json.loads(said) if said else {"unknown": "the question was not answered"}
    return found


def _as_process(process: Process, file: str, *, as_root: bool) -> dict[str, Any]:
    if os.geteuid() == 0:
        _enter(1 if as_root else process.pid)
        if as_root:
            return look(file)
        os.setgroups(list(process.groups))
        os.setresgid(process.group, process.group, process.group)
        os.setresuid(process.user, process.user, process.user)
        if process.user == 0:
            _keep_only(process.capabilities)
    return look(file)


def _enter(pid: int) -> None:
    """Take on the mounts, the root folder and the current folder of a process."""
    mounts, root, cwd = (os.open(f"/proc/{pid}/{name}", os.O_RDONLY) for name in ("ns/mnt", "root", "cwd"))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(mounts, _CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.fchdir(root)
    os.chroot(".")
    os.fchdir(cwd)


def _keep_only(capabilities: int) -> None:
    """Root without its usual rights, as in most containers (capset(2))."""
    head = struct.pack("<II", _CAPABILITY_VERSION_3, 0)
    low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
    data = struct.pack("<6I", low, low, 0, high, high, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(head, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def look(file: str) -> dict[str, Any]:
    """What this very process finds at `file`: `problem`, or `free` bytes."""
    folder = os.path.dirname(file) or "."  # noqa: PTH120 — a Path would drop what a relative name means
    if not os.path.isdir(folder):  # noqa: PTH112
        return {"problem": f"there is no folder {folder} there" if os.access("/", os.X_OK) else "its root is closed"}
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        read_only = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
        return {
            "problem": "the folder is mounted read-only" if read_only else "its user may not write into the folder"
        }
    problem = _in_the_way(file, folder)
    if problem:
        return {"problem": problem}
    found = os.statvfs(folder)
    return {"free": found.f_bavail * found.f_frsize}


def _in_the_way(file: str, folder: str) -> str | None:
    """A file of that name which the kernel could not remove first."""
    with suppress(FileNotFoundError):
        there = os.lstat(file)
        if os.path.isdir(file):  # noqa: PTH112
            return "there is a folder of that name"
        holder = Path(folder).stat()
        sticky = holder.st_mode & 0o1000
        if sticky and os.geteuid() not in (0, there.st_uid, holder.st_uid):
            return "an older file of that name belongs to somebody else and cannot be replaced"
    return None
