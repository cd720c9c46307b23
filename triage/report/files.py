"""A result written so that a reader finds the old file or the new one whole, never half of it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from triage.errors import EnvironmentLacks

PRIVATE, PUBLIC = 0o600, 0o644


def replace_file(target: Path, text: str, mode: int = PRIVATE) -> None:
    """Write beside the target, flush to the disk, rename over it.

    Raises:
        EnvironmentLacks: when the system refuses.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as out:
            out.write(text)
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        Path(temporary).replace(target)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()
        raise EnvironmentLacks(
            f"cannot write {target}: {error.strerror}", help="Its folder must be there and writable, with room left."
        ) from error
