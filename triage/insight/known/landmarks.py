"""Names for functions without a name that hold in every program made of the same compiled code.

php, php-fpm and php-cgi are linked from the same object files: a static function lies at another address in each,
but between the same neighbours. The distances from function to function round it are its landmark. In Debian's
php8.2 and php-fpm8.2, 8681 of 9554 functions have one that is unique and in both; all 1791 of them whose name is
exported have the same name in both (measured for 8.2.36).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from triage.errors import InputError
from triage.model import Crash
from triage.symbols.elffile import ElfFile

_ROUND = 2


def landmarks(crash: Crash) -> dict[tuple[str, str], str]:
    """`(module, sub_…)` → landmark, for the nameless functions on the crashed thread's stack.

    Only files on this machine that are the very build that crashed count.
    """
    thread = crash.crashed_thread
    builds = {module.path: module.build_id for module in crash.modules}
    found = {}
    for frame in thread.frames if thread is not None else ():
        if frame.module is None or frame.function is None or not frame.function.startswith("sub_"):
            continue
        name = _landmark(frame.module, builds.get(frame.module), frame.function)
        if name is not None:
            found[frame.module, frame.function] = name
    return found


@lru_cache(maxsize=4096)
def _landmark(path: str, build: str | None, function: str) -> str | None:
    starts = _starts(path, build) if build is not None else ()
    try:
        at = starts.index(int(function[4:], 16))
    except ValueError:
        return None
    if not _ROUND <= at < len(starts) - _ROUND - 1:
        return None
    distances = [starts[n + 1] - starts[n] for n in range(at - _ROUND, at + _ROUND + 1)]
    return hashlib.sha256(repr(distances).encode()).hexdigest()[:10]


@lru_cache(maxsize=16)
def _starts(path: str, build: str) -> tuple[int, ...]:
    """Where the functions of a file begin, by its unwind table; empty when it is another build or not there."""
    try:
        file = ElfFile(Path(path))
    except InputError:
        return ()
    return file.function_starts() if file.build_id == build else ()
