"""kernel.core_pattern: where the kernel writes a core, or which program it hands it to (core(5))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_KNOWN_HANDLERS = {
    "systemd-coredump": "systemd-coredump",
    "apport": "apport",
    "abrt-hook-ccpp": "abrt",
    "abrt-ccpp-hook": "abrt",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """The pattern taken apart. `program` is set for a pipe; `handler` names it where it is known.

    `uses_pid` is kernel.core_uses_pid, which adds the process id to names that lack it.
    """

    text: str
    uses_pid: bool = False

    @property
    def is_pipe(self) -> bool:
        """Whether cores go to a program."""
        return self.text.startswith("|")

    @property
    def is_socket(self) -> bool:
        """Whether cores go to a socket (kernel 6.16 and later)."""
        return self.text.startswith("@")

    @property
    def is_absolute(self) -> bool:
        """Whether cores go to a fixed folder, rather than the one the process is in."""
        return self.text.startswith("/")

    @property
    def program(self) -> str | None:
        """The program of a pipe, without its arguments."""
        return self.text[1:].split(maxsplit=1)[0] if self.is_pipe and self.text[1:].strip() else None

    @property
    def handler(self) -> str | None:
        """Which keeper of cores the program is: `systemd-coredump`, `apport`, `abrt`, `triage`; `None` if unknown."""
        if self.program is None:
            return None
        if " collect" in self.text and "triage" in self.text:
            return "triage"
        return _KNOWN_HANDLERS.get(self.program.rsplit("/", 1)[-1])

    def expand(self, values: Mapping[str, str]) -> str:
        """The file name for one process; `values` by the letter after `%`. An unknown letter gives nothing."""
        name, at = [], 0
        while at < len(self.text):
            char = self.text[at]
            if char == "%" and at + 1 < len(self.text):
                at += 1
                letter = self.text[at]
                name.append("%" if letter == "%" else values.get(letter, "").replace("/", "!"))
            elif char != "%":
                name.append(char)
            at += 1
        text = "".join(name) or "core"
        return f"{text}.{values['p']}" if self.uses_pid and "%p" not in self.text else text
