"""Which GDB to use: the one asked for, the system's, or the one a PyPI wheel carries.

A GDB counts when it answers within seconds, is version 12 or newer and has Python inside; each
one that does not is remembered with the reason, so that the error can say all of them.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from triage.errors import EnvironmentLacks

OLDEST = (12,)
_PROBE_SECONDS = 20
_PROBE = "python import json, platform; gdb.Command; print('python-inside', platform.python_version())"
_WHEEL = "gdb_for_pwndbg"
_HELP = (
    "As root: apt install gdb. Without root: pip install 'triage[gdb]' brings a GDB of its own "
    "(it needs the library libpython of the Python in use). Or name one with --gdb PROGRAM."
)


@dataclass(frozen=True, slots=True)
class Gdb:
    """A GDB that works. `origin` is `chosen`, `system` or `wheel`; `env` is what it needs to start."""

    argv: tuple[str, ...]
    version_text: str
    version: tuple[int, ...]
    origin: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Candidate:
    argv: tuple[str, ...]
    origin: str
    env: Mapping[str, str] = field(default_factory=dict)


class Unfit(Exception):
    """Why a GDB cannot be used; the message is one clause."""


def find_gdb(chosen: str | None = None) -> Gdb:
    """The first GDB that works.

    `chosen` (a path, or a name on PATH) is the only candidate when given.

    Raises:
        EnvironmentLacks: when none works; says of each why.
    """
    reasons = []
    for candidate in _candidates(chosen):
        try:
            return probe(candidate.argv, candidate.origin, candidate.env)
        except Unfit as reason:
            reasons.append(f"{candidate.argv[0]}: {reason}")
    if not reasons:
        reasons.append("there is none on PATH, and the wheel is not installed")
    raise EnvironmentLacks("no GDB on this machine can be used (" + "; ".join(reasons) + ")", help=_HELP)


def _candidates(chosen: str | None) -> Iterator[_Candidate]:
    if chosen is not None:
        yield _Candidate((shutil.which(chosen) or chosen,), "chosen")
        return
    for path in _on_path():
        yield _Candidate((str(path),), "system")
    wheel = _wheel()
    if wheel is not None:
        yield wheel


def _on_path() -> Iterator[Path]:
    """Every `gdb` on PATH, but not the wheel's start script, which waits for a terminal."""
    own = Path(sys.prefix) / "bin"
    seen = set()
    for folder in os.get_exec_path():
        path = Path(folder) / "gdb"
        if Path(folder) == own or not os.access(path, os.X_OK) or not path.is_file():
            continue
        real = path.resolve()
        if real not in seen:
            seen.add(real)
            yield path


def _wheel() -> _Candidate | None:
    """The GDB inside the wheel, started without its start script."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        return None
    vendor = Path(found.origin).parent / "_vendor"
    libraries = [f"{sys.prefix}/lib", sysconfig.get_config_var("LIBDIR") or ""]
    return _Candidate(
        (str(vendor / "bin" / "gdb"), "--data-directory", str(vendor / "share" / "gdb")),
        "wheel",
        {
            "PYTHONPATH": str(vendor.parent.parent),  # the wheel lays GDB's own modules beside itself
            "PYTHONHOME": f"{sys.base_prefix}:{sys.base_exec_prefix}",
            "PYTHONNOUSERSITE": "1",
            "LD_LIBRARY_PATH": ":".join(path for path in libraries if path),
        },
    )


def probe(argv: tuple[str, ...], origin: str, env: Mapping[str, str]) -> Gdb:
    """Start a GDB once and see that it will do.

    Raises:
        Unfit: when it does not start, does not answer, is too old or has no Python.
    """
    printed = _printed(argv, env)
    version_text = next((line for line in printed.splitlines() if line.startswith("GNU gdb")), None)
    if version_text is None:
        raise Unfit(f"it did not say its version: {_last_line(printed)}")
    version = _version(version_text)
    if version < OLDEST:
        raise Unfit(f"{version_text} is older than version {OLDEST[0]}")
    if "python-inside" not in printed:
        raise Unfit(f"{version_text} was built without Python, or its Python does not start")
    return Gdb(argv=argv, version_text=version_text, version=version, origin=origin, env=dict(env))


def _printed(argv: tuple[str, ...], env: Mapping[str, str]) -> str:
    # TRIAGE's own environment stays out: a setting meant for our Python would reach GDB's.
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "TERM": "dumb", **env}
    command = [*argv, "-nx", "-nh", "-q", "-batch", "-iex", "set auto-load off", "-ex", "show version", "-ex", _PROBE]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unfit(f"it gave no answer within {_PROBE_SECONDS} s") from error
    except OSError as error:
        raise Unfit(f"it cannot be started: {error.strerror}") from error
    return done.stdout.decode("utf-8", "backslashreplace")


def _version(text: str) -> tuple[int, ...]:
    """The numbers at the end of `GNU gdb (Debian 13.1-3) 13.1`."""
    found = re.search(r"(\d+(?:\.\d+)*)\S*$", text.strip())
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it printed nothing"
