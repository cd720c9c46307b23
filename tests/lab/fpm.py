"""php-fpm serving one request that crashes its worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.php import FIXTURES, Case, Made, passed, said
from triage.demo.lab import NoCrash, find_core

CASE = Case(name="fpm-request", script="request.php")
URI = "/products/17?id=17&token=hunter2"
_SECONDS = 30


def find_fpm() -> str | None:
    """The php-fpm on this machine."""
    folders = ("/usr/sbin", "/usr/bin", "/usr/local/sbin")
    found = [path for folder in folders for path in sorted(Path(folder).glob("php-fpm*"))]
    return str(found[-1]) if found else shutil.which("php-fpm")


def serve_and_crash(program: str, folder: Path) -> Made:
    """Start the server in `folder`, ask for the page, and take the worker's core.

    Raises:
        NoCrash: when the worker left no core.
    """
    run = folder / "fpm"
    run.mkdir()
    shutil.copytree(FIXTURES, run / "www")  # php-fpm enters the script's folder, and leaves its core there
    oracle = run / "oracle.json"
    begun = time.time()
    with _server(program, run, oracle):
        said_by_server = _request(run)
        if not oracle.exists():
            raise NoCrash(f"the page did not run: {said_by_server}")
        pid = json.loads(oracle.read_text())["pid"]
        core = _wait_for_core(run, pid, begun)
    target = folder / f"{CASE.name}.core"
    shutil.move(core, target)
    return Made(CASE, target, tuple(said(oracle, CASE)), passed=tuple(passed(oracle)))


@contextmanager
def _server(program: str, run: Path, oracle: Path) -> Iterator[None]:
    (run / "fpm.conf").write_text(
        f"[global]\nerror_log = {run}/log\ndaemonize = no\n"
        f"[www]\nlisten = {run}/socket\npm = static\npm.max_children = 1\nchdir = {run}\n"
        f"rlimit_core = unlimited\nprocess.dumpable = yes\nclear_env = no\n"
        f"env[TRIAGE_ORACLE] = {oracle}\n"
    )
    root = os.geteuid() == 0
    with (run / "log").open("ab") as log:
        server = subprocess.Popen(
            [program, "-F", *(["-R"] if root else []), "-y", str(run / "fpm.conf")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(run / "socket", server)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # its workers too: they would live on
        server.wait()


def _wait_for(path: Path, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _SECONDS
    while not path.exists():
        if server.poll() is not None or time.monotonic() > end:
            raise NoCrash("php-fpm did not start: " + (path.parent / "log").read_text()[-500:])
        time.sleep(0.05)


def _request(run: Path) -> str:
    script = run / "www" / CASE.script
    environment = {
        "PATH": os.environ["PATH"],
        "SCRIPT_FILENAME": str(script),
        "SCRIPT_NAME": "/" + CASE.script,
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": URI,
        "QUERY_STRING": URI.split("?")[1],
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    done = subprocess.run(
        ["cgi-fcgi", "-bind", "-connect", str(run / "socket")],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _wait_for_core(run: Path, pid: int, begun: float) -> Path:
    """The worker's core, once its parent has seen it dead and the file is whole."""
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if "exited on signal 11" in (run / "log").read_text():
            core = find_core(run / "www", pid, begun)
            if core is not None:
                return core
        time.sleep(0.1)
    raise NoCrash("the worker left no core: " + (run / "log").read_text()[-500:])
