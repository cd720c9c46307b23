"""A lock between processes that the kernel frees when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triage.errors import Busy, EnvironmentLacks
from triage.store.files import open_private

_held: set[int] = set()


def _forget_in_child() -> None:
    # A forked worker inherits the descriptor, and would keep the lock after its parent's death.
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)


@contextmanager
def exclusive(path: Path, *, store: str) -> Iterator[None]:
    """Hold the lock file at `path`; it holds our process id meanwhile.

    Raises:
        Busy: when somebody else holds it, this process included.
        EnvironmentLacks: when the file cannot be made.
    """
    descriptor = _acquire(path, store)
    _held.add(descriptor)
    try:
        _sign(descriptor, str(os.getpid()))
        yield
    finally:
        if descriptor in _held:  # not so in a forked child
            _held.discard(descriptor)
            _sign(descriptor, "")
            os.close(descriptor)


def _acquire(path: Path, store: str) -> int:
    try:
        descriptor = open_private(path)
    except OSError as error:
        raise EnvironmentLacks(
            f"cannot make the lock file {path}: {error.strerror}",
            help="The store's folder must be writable for this user.",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise held_by(f"pid {holder}" if holder else None, store) from None
    return descriptor


def held_by(holder: str | None, store: str) -> Busy:
    """The error for a lock that `holder` has."""
    who = f" ({holder})" if holder else ""
    return Busy(
        f"another run{who} holds the lock on the store {store}",
        help="Wait until it ends; if it dies, the lock is free at once.",
    )


def _sign(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode("ascii"), 0)
