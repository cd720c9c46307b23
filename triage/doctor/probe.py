"""A crash for real: a php-fpm of our own with one worker, the production's PHP, ini and pool settings.

The worker runs a script of ours and is killed with SIGSEGV; then the core must appear, and the script's
functions must come out of it. The production processes are only read.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from triage import clock
from triage.config import Settings
from triage.corefile import open_core
from triage.corefile.sources import Scratch, Trust, opened
from triage.doctor.fastcgi import first_output, send_request
from triage.doctor.host import read_host
from triage.doctor.place import values_of
from triage.doctor.pools import Pool, pools
from triage.doctor.processes import UNLIMITED, Process, read_process
from triage.errors import EnvironmentLacks, InputError
from triage.model import Crash
from triage.pipeline import Pipeline

_START, _ANSWER, _DUMP = 15.0, 10.0, 30.0
_COPIED = ("rlimit_core", "process.dumpable", "chdir", "clear_env")
_COPIED_FAMILIES = ("php_value[", "php_flag[", "php_admin_value[", "php_admin_flag[", "env[")
_FUNCTIONS = ("triage_probe_inner", "triage_probe_outer")
_SCRIPT = """<?php
function triage_probe_inner() { for (;;) { } }
function triage_probe_outer() { triage_probe_inner(); }
echo "ready\\n";
while (ob_get_level() > 0) { ob_end_flush(); }
flush();
triage_probe_outer();
"""
_STORES = (Path("/var/lib/systemd/coredump"), Path("/var/crash"), Path("/var/lib/triage/cores"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What the probe of one master found. `says` are sentences; `frames` the PHP frames that came out."""

    title: str
    passed: bool
    says: tuple[str, ...]
    frames: tuple[str, ...] = ()


class _Failed(Exception):
    """The probe ended early; the message is a sentence."""


def probe(master: Process, settings: Settings) -> list[Probed]:
    """For each pool of `master`, make a worker like its own crash, and triage its core."""
    found = pools(Path(master.configuration)) if master.configuration else {}
    return [_probe(master, pool, settings) for pool in found.values()]


def _probe(master: Process, pool: Pool, settings: Settings) -> Probed:
    title = f"Probe of {master.executable.rsplit('/', 1)[-1]} pool {pool.name} ({pool.file})"
    try:
        with _server(master, pool) as server:
            crash, remarks = _crash(server, settings)
    except (_Failed, OSError, EnvironmentLacks) as error:
        return Probed(title=title, passed=False, says=(str(error),))
    frames = tuple(
        frame.function or "main script" for frame in (crash.crashed_thread.frames if crash.crashed_thread else ())
        if frame.kind == "php"
    )  # fmt: skip
    whole = all(name in frames for name in _FUNCTIONS)
    says = f"a worker was crashed: its core was found and gives {len(frames)} PHP frames" + (
        ", all that were there" if whole else ", but not those that were there"
    )
    return Probed(title=title, passed=whole, says=(says, *remarks), frames=frames)


@dataclass(frozen=True, slots=True)
class _Server:
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What php-fpm said so far."""
        with suppress(OSError):
            return (self.folder / "log").read_text(errors="backslashreplace")
        return ""


@contextmanager
def _server(master: Process, pool: Pool) -> Iterator[_Server]:
    folder = Path(tempfile.mkdtemp(prefix="triage-probe-"))
    try:
        _lay_out(folder, pool)
        program = master.executable if Path(master.executable).is_file() else f"/proc/{master.pid}/exe"
        soft, hard = (("unlimited" if value == UNLIMITED else str(value)) for value in (master.limit, master.hard))
        as_root = ["-R"] if os.geteuid() == 0 and _user(folder) == 0 else []
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["prlimit", f"--core={soft}:{hard}", program, "-F", *as_root, "-y", str(folder / "fpm.conf")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=folder,
                env=_environment(master),
            )  # fmt: skip
        try:
            server = _Server(folder, process)
            _await_socket(server)
            yield server
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lay_out(folder: Path, pool: Pool) -> None:
    """The configuration and the script, in a folder that the worker may write to."""
    settings = pool.settings
    copied = [
        f"{name} = {value}"
        for name, value in settings.items()
        if name in _COPIED or name.startswith(_COPIED_FAMILIES)
    ]
    lines = [
        "[global]", f"error_log = {folder}/log", "daemonize = no", "[triage-probe]", f"listen = {folder}/socket",
        "listen.mode = 0666", "pm = static", "pm.max_children = 1", *copied,
    ]  # fmt: skip
    user = settings.get("user")
    if os.geteuid() == 0 and user:
        lines += [f"user = {user}", *([f"group = {settings['group']}"] if settings.get("group") else [])]
    (folder / "fpm.conf").write_text("\n".join(lines) + "\n")
    www = folder / "www"
    www.mkdir()
    (www / "probe.php").write_text(_SCRIPT)
    folder.chmod(0o755)
    if os.geteuid() == 0 and user:
        owner = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
        os.chown(www, owner, -1)
        os.chown(folder, owner, -1)


def _user(folder: Path) -> int:
    return folder.stat().st_uid


def _environment(master: Process) -> Mapping[str, str]:
    """What the production's PHP reads its ini by, and no more."""
    kept = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}
    with suppress(OSError):
        for item in Path(f"/proc/{master.pid}/environ").read_bytes().split(b"\0"):
            name, _, value = item.partition(b"=")
            if name in (b"PHPRC", b"PHP_INI_SCAN_DIR", b"LD_PRELOAD", b"LD_LIBRARY_PATH", b"USE_ZEND_ALLOC"):
                kept[name.decode()] = os.fsdecode(value)
    return kept


def _await_socket(server: _Server) -> None:
    left = clock.deadline(_START)
    while not (server.folder / "socket").exists():
        if server.process.poll() is not None or not left():
            raise _Failed(f"the probe's php-fpm did not start: {server.log[-300:].strip()}")
        time.sleep(0.05)


def _crash(server: _Server, settings: Settings) -> tuple[Crash, tuple[str, ...]]:
    script = server.folder / "www" / "probe.php"
    parameters = {
        "SCRIPT_FILENAME": str(script), "SCRIPT_NAME": "/probe.php", "REQUEST_URI": "/probe.php",
        "REQUEST_METHOD": "GET", "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1", "GATEWAY_INTERFACE": "CGI/1.1",
    }  # fmt: skip
    with send_request(server.folder / "socket", parameters, _ANSWER) as connection:
        said = first_output(connection)
        if b"ready" not in said:
            raise _Failed(f"the probe's script did not run: {(said or server.log[-300:].encode())!r}")
        worker = _worker(server.process.pid)
        place = _target(worker)
        os.kill(worker.pid, signal.SIGSEGV)
        _await_death(server, worker.pid)
    if "core dumped" not in server.log and not read_host().pattern.is_pipe:
        raise _Failed(f"the worker died of SIGSEGV and the kernel wrote no core (it would have been {place})")
    core = _await_core(worker.pid, [place.parent, *_STORES])
    with Pipeline(settings) as pipeline:
        outcome = pipeline.triage(core)
    remarks = () if core.is_relative_to(server.folder) else (f"the probe's core stays at {core}",)
    if outcome.crash is None:
        raise _Failed(f"its core {core} cannot be read: {outcome.failure.message if outcome.failure else ''}")
    return outcome.crash, remarks


def _worker(master: int) -> Process:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            process = read_process(int(entry.name))
            if process is not None and process.parent == master:
                return process
    raise _Failed("the probe's php-fpm has no worker")


def _target(worker: Process) -> Path:
    return Path(f"/proc/{worker.pid}/cwd").readlink() / read_host().pattern.expand(values_of(worker)).lstrip("|")


def _await_death(server: _Server, pid: int) -> None:
    left = clock.deadline(_DUMP)
    while f"child {pid} exited on signal" not in server.log:
        if not left():
            raise _Failed(f"worker {pid} was sent SIGSEGV and did not end within {_DUMP:.0f} s")
        time.sleep(0.05)


def _await_core(pid: int, folders: list[Path]) -> Path:
    left = clock.deadline(_DUMP)
    begun = time.time() - 5
    with Scratch(Path(tempfile.gettempdir()) / f"triage-probe-{os.getuid()}") as scratch:
        while left():
            for folder in folders:
                for path in sorted(folder.glob("*")) if folder.is_dir() else ():
                    if path.stat().st_mtime >= begun and _is_core_of(path, pid, scratch):
                        return path
            time.sleep(0.2)
    raise _Failed("the worker died of SIGSEGV, and its core was not found in " + ", ".join(map(str, folders)))


def _is_core_of(path: Path, pid: int, scratch: Scratch) -> bool:
    try:
        with opened(path, scratch, Trust(everywhere=True)) as found, open_core(found.file) as core:
            return core.notes.process is not None and core.notes.process.pid == pid
    except InputError:
        return False  # something else
