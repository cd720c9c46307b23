"""A file written so that a reader finds the old one or the new one whole, never half of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from triage.errors import EnvironmentLacks


@contextmanager
def whole_file(target: Path, *, mode: int, help: str) -> Iterator[BinaryIO]:
    """Write beside the target, flush to the disk, rename over it when the block ends well.

    Raises:
        EnvironmentLacks: when the system refuses, also within the block; `help` says what to do then.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        Path(temporary).replace(target)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()
        raise EnvironmentLacks(f"cannot write {target}: {error.strerror}", help=help) from error
