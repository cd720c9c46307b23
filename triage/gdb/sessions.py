"""One GDB for each program: the few that were used last are kept running."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from triage.config import Limits
from triage.gdb.locate import Gdb
from triage.gdb.sandbox import Isolation
from triage.gdb.session import GdbSession

_KEPT = 2  # each holds the symbols of its program's libraries in memory, some 90 MB


class Sessions:
    """GDB sessions by program; GDB starts when a session is first used."""

    def __init__(self, gdb: Gdb, limits: Limits) -> None:
        self._gdb = gdb
        self._limits = limits
        self._sessions: OrderedDict[Path | None, GdbSession] = OrderedDict()

    def of(self, program: Path | None) -> GdbSession:
        """The session for cores of this program."""
        if program not in self._sessions:
            while len(self._sessions) >= _KEPT:
                self._sessions.popitem(last=False)[1].close()
            self._sessions[program] = GdbSession(self._gdb, self._limits)
        self._sessions.move_to_end(program)
        return self._sessions[program]

    @property
    def isolation(self) -> Isolation | None:
        """How the GDB that was used last is confined."""
        last = next(reversed(self._sessions.values()), None)
        return last.isolation if last is not None else None

    def close(self) -> None:
        """End them all."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
