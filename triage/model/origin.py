"""Where a core came from, and what stood beside it."""

from __future__ import annotations

from datetime import datetime

from triage.model.record import record


@record
class Origin:
    """What the keeper of a core tells that the core itself does not. Whatever it does not say is `None`.

    `kind` is `file`, `systemd-coredump`, `apport`, `abrt`, `collect`, `pack` or `kernel-log`;
    `compression` is `gzip`, `xz`, `zstd` or `lz4`. `time` is when the process died, and `time_from` what
    says so (`name`, `attribute`, `journal`, `report`, `kernel`; `mtime` when only the file's own time is
    known). `user` is a user id; `container` a container's id; `occurrences` how often the keeper saw it.
    """

    kind: str
    compression: str | None = None
    time: datetime | None = None
    time_from: str | None = None
    host: str | None = None
    pid: int | None = None
    user: int | None = None
    executable: str | None = None
    arguments: tuple[str, ...] = ()
    container: str | None = None
    unit: str | None = None
    package: str | None = None
    occurrences: int | None = None
