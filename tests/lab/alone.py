"""One process at a time makes what all keep in the cache."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from tests.lab.places import folder

P = ParamSpec("P")
R = TypeVar("R")


def alone(made: Callable[P, R]) -> Callable[P, R]:
    """The function, waiting while another process is in it: afterwards it finds what that one made."""

    @wraps(made)
    def waiting(*given: P.args, **named: P.kwargs) -> R:
        lock = folder().parent / f"{made.__module__}.{made.__name__}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            return made(*given, **named)

    return waiting
