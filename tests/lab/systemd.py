"""systemd-coredump itself, given a core as the kernel would give it, in a mount namespace of its own.

The kernel starts the program with the core on its standard input; it hands everything over a socket
to a second one, which PID 1 would start and which stores the core.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.lab.packages import unpacked
from tests.lab.suites import CannotMake

_SECONDS = 60
STORE = "/var/lib/systemd/coredump"


def store_core(core: Path, folder: Path, *, signal: int = 11, time: int = 1_790_000_000, user: int = 0) -> Path:
    """Have the real systemd-coredump take `core`; returns its file in `folder`/coredump.

    Raises:
        CannotMake: without root, or where the package cannot be fetched.
    """
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        raise CannotMake("a mount namespace needs root and unshare")
    program = unpacked("systemd-coredump") / "lib/systemd/systemd-coredump"
    (folder / "coredump").mkdir(exist_ok=True)
    (folder / "run").mkdir(exist_ok=True)
    argv = ["unshare", "--mount", sys.executable, "-m", "tests.lab.systemd"]
    said = subprocess.run(
        [*argv, str(program), str(core), str(folder), str(signal), str(time), str(user)],
        capture_output=True, text=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
    found = sorted((folder / "coredump").glob("core.*"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise AssertionError(f"systemd-coredump stored nothing: {said.stdout}{said.stderr}")
    return found[-1]


def _inside(program: str, core: str, folder: str, signal: str, time: str, user: str) -> None:
    """What runs within the namespace: the socket's two ends."""
    for source, target in ((f"{folder}/coredump", STORE), (f"{folder}/run", "/run/systemd")):
        Path(target).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", source, target], check=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind("/run/systemd/coredump")
        listener.listen(1)
        identity = {} if user == "0" else {"user": int(user), "group": int(user), "extra_groups": ()}
        with subprocess.Popen(["sleep", "600"], **identity) as crashed:  # type: ignore[call-overload]
            with open(core, "rb") as stream:  # noqa: PTH123
                kernel = subprocess.Popen(
                    [program, str(crashed.pid), user, user, signal, time, str(1 << 63), "web1", "1"], stdin=stream
                )
            connection, _ = listener.accept()
            _serve(program, connection)
            kernel.wait()
            crashed.kill()


def _serve(program: str, connection: socket.socket) -> None:
    """Start the second one as PID 1 does: the socket as descriptor 3 (sd_listen_fds(3))."""
    child = os.fork()
    if child == 0:
        held = os.dup(connection.fileno())
        os.dup2(held, 3)
        environment = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "PATH": os.environ["PATH"]}
        os.execve(program, [program], environment)  # noqa: S606
    connection.close()
    os.waitpid(child, 0)


if __name__ == "__main__":
    _inside(*sys.argv[1:])
