"""What is known beside the crashes: how healthy workers are set up, what was changed, which bugs are on file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from triage.model.record import record


@record
class Snapshot:
    """Healthy workers of one host and pool with one configuration. `options` has changed ini directives.

    `libraries` maps a mapped file's name to its build-id; `workers` is how many were alike when last seen. `ages`
    and `requests` are those of single workers, in seconds and in number; `scripts` what they ran just then.
    """

    host: str
    pool: str | None
    sapi: str | None
    version: str | None
    options: Mapping[str, str | None]
    extensions: Mapping[str, str | None]
    libraries: Mapping[str, str]
    first_seen: datetime
    last_seen: datetime
    workers: int = 1
    ages: tuple[int, ...] = ()
    requests: tuple[int, ...] = ()
    scripts: tuple[str, ...] = ()


@record
class Change:
    """One change on a machine. `time` in seconds since 1970; `kind` is one of insight's lists/kinds.json.

    `what` is a sentence's subject (`php8.2 8.2.35 → 8.2.36`). `packages` maps each Debian package to its
    (old, new) version, `options` each ini
    directive. `paths` are files it concerns. `host` and `pool` are `None` where it
    holds for all. `source` says where this was read.
    """

    time: float
    kind: str
    what: str
    source: str
    host: str | None = None
    pool: str | None = None
    packages: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    options: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    paths: tuple[str, ...] = ()


@record
class KnownBug:
    """A bug whose regression test killed the PHP installed here.

    `signature` is the key of that crash, `frames` its signal and frames, innermost first, as known/trace.py keeps
    them (a newer triage brings them to its own form); `fixed` the versions whose changelog names it, `entry` that
    line. `killed` is the version that died; `script` and `settings` do it again.
    """

    bug: str
    signature: str
    title: str
    frames: tuple[str, ...]
    fixed: tuple[str, ...]
    entry: str | None
    killed: str
    source: str
    script: str
    settings: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
