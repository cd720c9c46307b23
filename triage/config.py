"""Settings: from the command line, the environment, or the defaults here."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass, field
from pathlib import Path

from triage.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what one core may cost. Times in seconds, sizes in bytes."""

    inner_frames: int = 256
    outer_frames: int = 64
    walk_frames: int = 200_000
    other_thread_frames: int = 32
    threads: int = 128
    script_frames: int = 100_000
    gdb_seconds: float = 60.0
    gdb_recycle: int = 200
    gdb_memory: int = 4 << 30
    gdb_cpu: int = 1200
    largest_core: int = 64 << 30
    disk_reserve: int = 512 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one run of the program was told."""

    store: str | None = None
    sysroot: Path | None = None
    debug_dirs: tuple[Path, ...] = ()
    gdb: str | None = None
    values: bool = False
    reuse: bool = True
    debuginfod: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)


def data_folder() -> Path:
    """The XDG data folder of this program. Not created here."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "triage"


def lists_folder() -> Path:
    """The XDG config folder of the user's own lists (see `triage.lists`). Not created here."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "triage" / "lists"


def cache_folder() -> Path:
    """The XDG cache folder of this program, for what can be made again. Not created here."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "triage"


def store_url(chosen: str | None) -> str:
    """The store's URL: `--store`, else TRIAGE_STORE, else SQLite in the data folder.

    A bare path is taken as an SQLite file.

    Raises:
        UsageError: for a URL scheme that no store speaks.
    """
    url = chosen or os.environ.get("TRIAGE_STORE") or f"sqlite:///{data_folder() / 'triage.db'}"
    if "://" not in url:
        return f"sqlite:///{Path(url).absolute()}"
    if not url.startswith(("sqlite://", "postgresql://", "postgresql+")):
        raise UsageError(
            f"no store speaks {url.split(':', 1)[0]!r}",
            help="Use --store PATH, sqlite:///PATH or postgresql://…",
        )
    return url


def user_name() -> str:
    """Who runs this: behind sudo, the user who called it."""
    called = os.environ.get("SUDO_USER")
    if called:
        return called
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"  # in containers users often have no name
