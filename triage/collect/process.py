"""What /proc tells of a process that is being dumped. It stays until its core has been read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from triage import redact

_LONGEST = 256 << 10
_CONTAINER = re.compile(r"([0-9a-f]{64})")
_UNIT = re.compile(r"/([\w@:.\\-]+\.service)(?:/|$)", re.M)
_START_TIME, _EIP = 19, 27  # fields of /proc/PID/stat after the name, from 0


class Gone(Exception):
    """The process is not there, or another one has its number."""


class Proc:
    """One process through a descriptor of its /proc folder: a number used again cannot be taken for it."""

    def __init__(self, pid: int) -> None:
        try:
            self._folder = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Gone(f"process {pid} is gone") from error
        self._begun = self._stat()[_START_TIME]

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._folder)

    def _text(self, name: str) -> str:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError:
            return ""  # a kernel thread, or one that gave back its memory already
        with os.fdopen(descriptor, "rb") as stream:
            try:
                return stream.read(_LONGEST).decode("utf-8", "backslashreplace")
            except OSError:
                return ""

    def _link(self, name: str) -> str | None:
        try:
            return os.readlink(name, dir_fd=self._folder)
        except OSError:
            return None

    def _stat(self) -> list[str]:
        fields = self._text("stat").rpartition(")")[2].split()
        if len(fields) <= _EIP:
            raise Gone("the process is gone")
        return fields

    def facts(self) -> Mapping[str, Any]:
        """Everything worth keeping, secrets hidden. Raises Gone when the process is not the same any more."""
        cgroup = self._text("cgroup")
        container, unit = _CONTAINER.search(cgroup), _UNIT.search(cgroup)
        facts = {
            "name": self._text("comm").strip(),
            "executable": self._link("exe"),
            "root": self._link("root"),
            "folder": self._link("cwd"),
            "arguments": list(redact.command_line(tuple(self._text("cmdline").rstrip("\0").split("\0")))),
            "container": container[1][:12] if container else None,
            "unit": unit[1] if unit else None,
            "instruction_pointer": hex(int(self._stat()[_EIP])),
            "code": [line for line in self._text("maps").splitlines() if " r-xp " in line],
        }
        if self._stat()[_START_TIME] != self._begun:
            raise Gone("another process has its number")
        return facts
