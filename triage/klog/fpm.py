"""What php-fpm's own log says of workers that died: `child N exited on signal 11 (SIGSEGV) after S seconds`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from triage import clock

_LINE = re.compile(
    r"\[(?P<time>\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d)(?:\.\d+)?\] WARNING: (?:.*?\[pool (?P<pool>[^\]]+)\] )?"
    r"child (?P<pid>\d{1,10}) exited on signal (?P<signal>\d{1,3}) \((?P<name>SIG\w+)(?P<dumped> - core dumped)?\)"
    r"(?: after (?P<age>\d{1,12}(?:\.\d{1,9})?) seconds from start)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FpmExit:
    """One worker's death. `age` in seconds; `dumped` whether the kernel wrote a core."""

    time: datetime
    pool: str | None
    pid: int
    signal: int
    name: str
    dumped: bool
    age: float | None


def exits(lines: Iterable[str]) -> Iterator[FpmExit]:
    """Deaths by a signal; times are in this machine's time zone, as php-fpm writes them."""
    for line in lines:
        found = _LINE.search(line)
        if found is None or found["name"] in ("SIGTERM", "SIGKILL", "SIGQUIT"):
            continue  # somebody stopped it
        time = clock.written(found["time"], "%d-%b-%Y %H:%M:%S")
        if time is None:
            continue
        yield FpmExit(
            time=time,
            pool=found["pool"],
            pid=int(found["pid"]),
            signal=int(found["signal"]),
            name=found["name"],
            dumped=found["dumped"] is not None,
            age=float(found["age"]) if found["age"] else None,
        )
