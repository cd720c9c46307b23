"""Crashes and healthy workers as units of comparison, described in the same words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from triage import lists
from triage.insight.correlate.attributes import Attribute, Unit
from triage.model import Crash, Runtime, Snapshot

CONFIGURATION = ("option", "extension", "php", "library")
PLACES = ("host", "pool")
MOMENTS = ("script", "request", "age", "requests", "hour")
_AGES = ((60, "under 1 minute"), (600, "1 to 10 minutes"), (3600, "10 to 60 minutes"), (86400, "1 to 24 hours"))
_REQUESTS = ((1, "first request"), (10, "2 to 10"), (100, "11 to 100"), (1000, "101 to 1000"))
_SONAME = re.compile(r"(\.so)(?:\.\d+)+$")


def of_crash(crash: Crash) -> Unit | None:
    """A crash as a unit; `None` where no interpreter could be read, since then nothing is known to compare."""
    runtime = crash.runtime
    if runtime is None:
        return None
    libraries = {library(module.path): module.build_id for module in crash.modules if module.build_id}
    setup = frozenset(_setup(runtime.version, runtime.options, runtime.extensions, libraries))
    return Unit(setup | frozenset(_around(crash, runtime)), fingerprint(setup))


def of_snapshot(snapshot: Snapshot) -> Unit:
    """Healthy workers as one unit."""
    setup = frozenset(_setup(snapshot.version, snapshot.options, snapshot.extensions, snapshot.libraries))
    places = {Attribute("host", snapshot.host)} | ({Attribute("pool", snapshot.pool)} if snapshot.pool else set())
    return Unit(setup | places, fingerprint(setup), max(1, snapshot.workers))


def moments_of(snapshot: Snapshot) -> list[Unit]:
    """Single healthy workers with what differs from one to the next: their age, their count of requests."""
    place = fingerprint(frozenset(_setup(snapshot.version, snapshot.options, snapshot.extensions, {})))
    kinds: tuple[Iterable[Attribute], ...] = (
        [Attribute("age", bucket(age, _AGES, "over a day")) for age in snapshot.ages],
        [Attribute("requests", bucket(count, _REQUESTS, "over 1000")) for count in snapshot.requests],
        [Attribute("script", name) for name in snapshot.scripts],
    )
    return [Unit(frozenset({one}), f"{place}{at}") for kind in kinds for at, one in enumerate(kind)]


def only(unit: Unit, families: Iterable[str]) -> Unit:
    """The unit with the attributes of these families alone."""
    wanted = frozenset(families)
    return Unit(frozenset(one for one in unit.attributes if one.family in wanted), unit.configuration, unit.weight)


def library(path: str) -> str:
    """A mapped file's name without the version that changes with each update."""
    return _SONAME.sub(r"\1", path.rsplit("/", 1)[-1])


def fingerprint(setup: frozenset[Attribute]) -> str:
    """A short name of a configuration."""
    return hashlib.sha256("\n".join(sorted(map(repr, setup))).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _setup(
    version: str | None,
    options: Mapping[str, str | None],
    extensions: Mapping[str, str | None],
    libraries: Mapping[str, str],
) -> Iterator[Attribute]:
    if version:
        yield Attribute("php", "", version)
    for name, value in options.items():
        yield Attribute("option", name, value or "")
    for name, number in extensions.items():
        # The bundled ones carry PHP's own version, which is an attribute already.
        yield Attribute("extension", name, "" if number == version or lists.is_bundled(name) else number or "")
    for name, build in libraries.items():
        if not name.startswith("["):
            yield Attribute("library", name, f"build {build[:8]}")


def _around(crash: Crash, runtime: Runtime) -> Iterator[Attribute]:
    if crash.host:
        yield Attribute("host", crash.host)
    if runtime.script:
        yield Attribute("script", runtime.script)
    if runtime.request is not None and runtime.request.method:
        first = (runtime.request.uri or "/").split("/")[1:2]
        yield Attribute("request", f"{runtime.request.method} /{''.join(first)}")
    if crash.time is not None:
        yield Attribute("hour", _hours(crash.time))
    worker = runtime.worker
    if worker is None:
        return
    yield Attribute("pool", worker.pool)
    if worker.requests is not None:
        yield Attribute("requests", bucket(worker.requests, _REQUESTS, "over 1000"))
    if worker.started is not None and crash.time is not None:
        age = (crash.time - worker.started).total_seconds()
        yield Attribute("age", bucket(age, _AGES, "over a day"))


def bucket(value: float, steps: Iterable[tuple[float, str]], above: str) -> str:
    """The name of the range `value` lies in."""
    return next((name for most, name in steps if value <= most), above)


def _hours(time: datetime) -> str:
    start = time.hour // 6 * 6
    return f"{start:02}:00 to {start + 6:02}:00 UTC"
