"""The php-fpm processes of this machine, as /proc shows them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from triage.text import from_bytes

CAP_SYS_RESOURCE, CAP_DAC_OVERRIDE = 24, 1
UNLIMITED = (1 << 64) - 1
_MASTER = re.compile(r"php-fpm\S*: master process \((.*)\)")
_POOL = re.compile(r"php-fpm\S*: pool (\S+)")
_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process. Sizes in bytes; `limit` and `hard` are those of RLIMIT_CORE, `UNLIMITED` for infinity.

    `dumpable` is whether the kernel counts it as dumpable by its own user (prctl PR_SET_DUMPABLE 1), which a
    change of user takes away. `resident` is about what a core of it would hold. `replaced` are mapped files
    that were removed or replaced since. `role` is `master`, `worker` or `process`.
    """

    pid: int
    role: str
    pool: str | None
    configuration: str | None
    executable: str
    user: int
    group: int
    groups: tuple[int, ...]
    capabilities: int
    limit: int
    hard: int
    file_limit: int
    dumpable: bool
    filter: int
    resident: int
    name: str
    parent: int
    replaced: tuple[str, ...]
    container: str | None
    other_mounts: bool
    unit: str | None

    def has(self, capability: int) -> bool:
        """Whether it has the capability of that number."""
        return bool(self.capabilities >> capability & 1)


def php_processes() -> list[Process]:
    """Every php-fpm master and worker that can be looked at, masters first."""
    found = [process for process in map(read_process, _pids()) if process is not None and process.role != "process"]
    return sorted(found, key=lambda process: (process.configuration or "", process.role, process.pid))


def _pids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _title(int(entry.name)).startswith("php-fpm"):
            yield int(entry.name)


def _title(pid: int) -> str:
    with suppress(OSError):
        return from_bytes(Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")).strip()
    return ""


def read_process(pid: int) -> Process | None:
    """The facts of one process; `None` when it is gone or may not be looked at."""
    proc = Path(f"/proc/{pid}")
    try:
        status = _fields((proc / "status").read_text(errors="backslashreplace"))
        limits = (proc / "limits").read_text()
        owner = (proc / "environ").stat().st_uid
        executable = str((proc / "exe").readlink())
        spared = int((proc / "coredump_filter").read_text() or "0", 16)
        cgroup = (proc / "cgroup").read_text()
        mounts = (proc / "ns/mnt").readlink()
        maps = (proc / "maps").read_text(errors="backslashreplace")
    except (OSError, ValueError):
        return None
    role, pool, configuration = _role(pid)
    user = int(status["Uid"].split()[3])
    limit, hard = _limit(limits, "Max core file size")
    return Process(
        pid=pid,
        role=role,
        pool=pool,
        configuration=configuration or _configuration_of(int(status["PPid"])),
        executable=executable.removesuffix(_DELETED),
        user=user,
        group=int(status["Gid"].split()[3]),
        groups=tuple(int(group) for group in status.get("Groups", "").split()),
        capabilities=int(status["CapEff"], 16),
        limit=limit,
        hard=hard,
        file_limit=_limit(limits, "Max file size")[0],
        dumpable=user == 0 or owner == int(status["Uid"].split()[1]),
        filter=spared,
        resident=_resident(status, spared),
        name=status["Name"],
        parent=int(status["PPid"]),
        replaced=_replaced(maps),
        container=_container(cgroup),
        other_mounts=mounts != Path("/proc/self/ns/mnt").readlink(),
        unit=_unit(cgroup),
    )


def _fields(text: str) -> Mapping[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def _role(pid: int) -> tuple[str, str | None, str | None]:
    title = _title(pid)
    master, pool = _MASTER.match(title), _POOL.match(title)
    if master:
        return "master", None, master[1]
    return ("worker", pool[1], None) if pool else ("process", None, None)


def _configuration_of(parent: int) -> str | None:
    master = _MASTER.match(_title(parent))
    return master[1] if master else None


def _limit(text: str, name: str) -> tuple[int, int]:
    line = next((line for line in text.splitlines() if line.startswith(name)), "")
    words = line[len(name) :].split()
    soft, hard = (UNLIMITED if word == "unlimited" else int(word) for word in words[:2])
    return soft, hard


def _resident(status: Mapping[str, str], spared: int) -> int:
    """Private memory in use, and shared memory where the filter has it dumped; in bytes."""
    names = ["RssAnon", "VmSwap", *(["RssShmem"] if spared & 2 else [])]
    return sum(int(status[name].split()[0]) * 1024 for name in names if name in status)


def _replaced(maps: str) -> tuple[str, ...]:
    """Program files that are mapped and no longer on the disk under that name."""
    gone = [line.split(maxsplit=5) for line in maps.splitlines() if line.endswith(_DELETED)]
    paths = {words[5].removesuffix(_DELETED) for words in gone if len(words) == 6 and "x" in words[1]}
    return tuple(sorted(path for path in paths if path.startswith("/") and not path.startswith(("/dev/", "/memfd"))))


def _container(cgroup: str) -> str | None:
    found = re.search(r"([0-9a-f]{64})", cgroup)
    return found[1][:12] if found else None


def _unit(cgroup: str) -> str | None:
    found = re.search(r"/([\w@:.\\-]+\.service)(?:/|$)", cgroup, re.M)
    return found[1] if found else None


def outside_view() -> bool:
    """Whether this program itself runs in a container, so that what is the host's cannot be seen."""
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return True
    with suppress(OSError):
        return _container(Path("/proc/self/cgroup").read_text()) is not None
    return False


def is_root() -> bool:
    """Whether we may look at every process."""
    return os.geteuid() == 0
