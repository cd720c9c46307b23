"""What the kernel would do if a process died now: its own rules, from fs/coredump.c (Linux 5.10 to 6.18)."""

from __future__ import annotations

from dataclasses import dataclass

from triage.doctor.host import Host
from triage.doctor.place import Place, place_of
from triage.doctor.processes import Process

LEAST = 4096
"""A core limit below one page means none (ELF_EXEC_PAGESIZE)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """`dumps` is whether the kernel would write, or hand over, a core; `None` when it cannot be told.

    `reasons` are codes of what stands against it: `not-dumpable`, `limit`, `relative-suid`, `place`,
    `pipe-limit`, `no-handler`. `place` is set where cores are files.
    """

    dumps: bool | None
    reasons: tuple[str, ...]
    place: Place | None = None


def predict(process: Process, host: Host) -> Prediction:
    """Would a crash of the process leave a core? Every obstacle is named, not the first one alone."""
    pattern = host.pattern
    dumpable = 1 if process.dumpable else host.suid_dumpable
    reasons = ["not-dumpable"] if dumpable == 0 else []
    if pattern.is_socket:
        return Prediction(dumps=None if not reasons else False, reasons=tuple(reasons))
    if pattern.is_pipe:
        reasons += ["pipe-limit"] if process.limit == 1 else []  # 1 marks a handler's own children
        reasons += [] if pattern.program else ["no-handler"]
        return Prediction(dumps=not reasons, reasons=tuple(reasons))
    as_root = dumpable == 2
    reasons += ["limit"] if process.limit < LEAST else []
    reasons += ["relative-suid"] if as_root and not pattern.is_absolute else []
    place = place_of(process, pattern, as_root=as_root)
    reasons += ["place"] if place.problem else []
    unsure = place.unknown is not None and not reasons
    return Prediction(dumps=None if unsure else not reasons, reasons=tuple(reasons), place=place)
