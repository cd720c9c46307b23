"""The exact lines that mend what a check found, for this very process and service manager."""

from __future__ import annotations

import grp

from triage.doctor.host import Host
from triage.doctor.pools import Pool
from triage.doctor.processes import CAP_SYS_RESOURCE, UNLIMITED, Process

_FOLDER = "/var/lib/cores"
_PATTERN = f"{_FOLDER}/core.%e.%p.%t"


class Fixes:
    """What to do about one process; its pool's file and its master say how."""

    def __init__(self, process: Process, pool: Pool | None, master: Process | None, host: Host) -> None:
        self._process = process
        self._pool = pool
        self._master = master or process
        self._host = host

    @property
    def limit_refused(self) -> bool:
        """Whether php-fpm could not raise the limit by itself."""
        raising = self._master.hard != UNLIMITED
        return raising and not self._master.has(CAP_SYS_RESOURCE)

    def dumpable(self) -> tuple[str, ...]:
        """Make the workers dumpable."""
        return (*self._setting("process.dumpable = yes"), *self.restart())

    def limit(self) -> tuple[str, ...]:
        """Raise the core limit where it can be raised."""
        if self._process.role == "master" or self.limit_refused:
            return (*self._outside(), *self.restart())
        return (*self._setting("rlimit_core = unlimited"), *self.restart())

    def folder(self) -> tuple[str, ...]:
        """Send cores to a folder that the workers may write to."""
        inside = " (inside the container: mount a volume there)" if self._process.container else ""
        return (
            f"install -d -m 2770 -o root -g {self._group()} {_FOLDER}{inside}",
            f"echo 'kernel.core_pattern = {_PATTERN}' > /etc/sysctl.d/60-cores.conf && sysctl --system"
            + (" (on the host)" if self._process.container or self._host.contained else ""),
        )

    def filter(self) -> tuple[str, ...]:
        """Have everything dumped that a backtrace needs."""
        if self._process.unit:
            return (f"systemctl edit {self._process.unit}   # [Service] CoredumpFilter=default", *self.restart())
        return (f"echo 0x33 > /proc/{self._master.pid}/coredump_filter", *self.restart())

    def restart(self) -> tuple[str, ...]:
        """Make it count."""
        if self._process.container:
            return ("restart the container",)
        return (f"systemctl restart {self._process.unit}",) if self._process.unit else ("restart php-fpm",)

    def _setting(self, line: str) -> tuple[str, ...]:
        file = self._pool.file if self._pool is not None else (self._process.configuration or "its configuration")
        return (f"in {file}, under [{self._process.pool}]:  {line}",)

    def _outside(self) -> tuple[str, ...]:
        """What starts the master must raise it."""
        if self._process.container or self._host.contained:
            return ("start the container with --ulimit core=-1   # compose: ulimits: {core: -1}",)
        if self._process.unit:
            return (f"systemctl edit {self._process.unit}   # [Service] LimitCORE=infinity",)
        return ("start php-fpm from a shell or unit with  ulimit -c unlimited  (its hard limit too)",)

    def _group(self) -> str:
        try:
            return grp.getgrgid(self._process.group).gr_name
        except KeyError:
            return str(self._process.group)
