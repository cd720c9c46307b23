"""A PostgreSQL server of our own for one test run, where its programs and a driver are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_FOLDERS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
_NOBODY = 65534


def lacks() -> str | None:
    """Why no server can be started here; `None` when one can."""
    if find_spec("psycopg") is None:
        return "psycopg is not installed"
    return None if _program("initdb") else "initdb is not installed"


@contextmanager
def running() -> Iterator[Path]:
    """Start a server that listens on a socket only; gives the socket's folder. User: triage."""
    folder = Path(tempfile.mkdtemp(prefix="triage-pg-"))
    data = str(folder / "data")
    if os.geteuid() == 0:
        os.chown(folder, _NOBODY, _NOBODY)  # PostgreSQL refuses to run as root
    try:
        _run("initdb", "-D", data, "-A", "trust", "-U", "triage", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        _run("pg_ctl", "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield folder
        finally:
            _run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _program(name: str) -> str | None:
    return shutil.which(name) or next((str(at / name) for at in _FOLDERS if (at / name).exists()), None)


def _run(name: str, *arguments: str) -> None:
    program = _program(name)
    assert program is not None
    user = _NOBODY if os.geteuid() == 0 else None
    extra = [] if user is None else [user]
    subprocess.run(
        [program, *arguments],
        check=True,
        user=user,
        group=user,
        extra_groups=None if user is None else extra,
        cwd="/",
        stdout=subprocess.DEVNULL,
    )
