"""php-fpm whose workers die one after the other, each in another script; on this machine or in a suite's root."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.lab.php import FIXTURES, Case, Made, passed, said
from tests.lab.places import place
from triage.demo.lab import NoCrash, find_core

_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Workers:
    """A running server. `run` is its folder as seen from here, `inside` as it sees it itself."""

    run: Path
    inside: str
    root: Path | None
    server: subprocess.Popen[bytes]

    def crash(self, case: Case, target: Path, extra: Mapping[str, str] = MappingProxyType({})) -> Made:
        """Ask for the case's page; the worker that serves it dies, and its core lands at `target`.

        Raises:
            NoCrash: when the page did not run or left no core.
        """
        oracle = self.run / f"{case.name}.json"
        begun = time.time()
        answer = self.ask(case.script, {"TRIAGE_ORACLE": f"{self.inside}/{oracle.name}", **extra})
        if not oracle.exists():
            raise NoCrash(f"the page did not run: {answer[-500:]}")
        pid = json.loads(oracle.read_text())["pid"]
        shutil.move(self.core(pid, begun), target)
        return Made(case, target, tuple(said(oracle, case)), sysroot=self.root, passed=tuple(passed(oracle)))

    def ask(self, script: str, extra: Mapping[str, str], body: bytes = b"") -> str:
        """One request for a script of the fixtures, with more FastCGI parameters; what the server answered."""
        environment = {
            "PATH": os.environ["PATH"],
            "SCRIPT_FILENAME": f"{self.inside}/www/{script}",
            "DOCUMENT_ROOT": f"{self.inside}/www",
            "SCRIPT_NAME": "/" + script,
            "REQUEST_METHOD": "GET",
            "REQUEST_URI": "/" + script,
            "QUERY_STRING": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            **extra,
        }
        done = subprocess.run(
            ["cgi-fcgi", "-bind", "-connect", str(self.run / "socket")],
            env=environment,
            input=body,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        return (done.stdout + done.stderr).decode("utf-8", "replace")

    def core(self, pid: int, begun: float) -> Path:
        """The worker's core, once its parent has seen it dead and the file is whole."""
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            if f"child {pid} exited on signal 11" in (self.run / "log").read_text():
                for place in (self.run / "www", self.run):  # PHP goes back to the pool's folder at the end
                    core = find_core(place, pid, begun)
                    if core is not None:
                        return core
            time.sleep(0.05)
        raise NoCrash("the worker left no core: " + (self.run / "log").read_text()[-500:])


@contextmanager
def serving(
    program: str, folder: Path, root: Path | None, options: tuple[str, ...], pool: str = ""
) -> Iterator[Workers]:
    """php-fpm with one worker at a time, `options` as for php's own command line, `pool` more of its settings.

    Raises:
        NoCrash: when it does not start.
    """
    run = (place(root) if root else folder) / "workers"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    shutil.copytree(FIXTURES, run / "www")  # php-fpm enters the script's folder, and leaves its core there
    inside = f"/{run.relative_to(root)}" if root else str(run)
    (run / "fpm.conf").write_text(
        f"[global]\nerror_log = {inside}/log\ndaemonize = no\n"
        f"[www]\nlisten = {inside}/socket\npm = static\npm.max_children = 1\nchdir = {inside}\n"
        f"rlimit_core = unlimited\nprocess.dumpable = yes\nclear_env = no\n{pool}"
    )
    enter = ["chroot", str(root)] if root else []
    as_root = ["-R"] if os.geteuid() == 0 else []
    with (run / "log").open("ab") as log:
        server = subprocess.Popen(
            [*enter, program, "-F", *as_root, "-y", f"{inside}/fpm.conf", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(run / "socket", server)
        yield Workers(run, inside, root, server)
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # its workers too: they would live on
        server.wait()


def _wait_for(path: Path, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _SECONDS
    while not path.exists():
        if server.poll() is not None or time.monotonic() > end:
            raise NoCrash("php-fpm did not start: " + (path.parent / "log").read_text()[-500:])
        time.sleep(0.05)
