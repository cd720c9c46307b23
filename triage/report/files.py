"""A result written so that a reader finds the old file or the new one whole, never half of it."""

from __future__ import annotations

from pathlib import Path

from triage.wholefile import whole_file

PRIVATE, PUBLIC = 0o600, 0o644


def replace_file(target: Path, text: str, mode: int = PRIVATE) -> None:
    """Write beside the target, flush to the disk, rename over it.

    Raises:
        EnvironmentLacks: when the system refuses.
    """
    with whole_file(target, mode=mode, help="Its folder must be there and writable, with room left.") as out:
        out.write(text.encode("utf-8", "backslashreplace"))
