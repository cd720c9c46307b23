"""The command run many times without importing it many times: a server forks a process a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from .guarded import ROOT

_SERVER = """
import json, os, sys, traceback
import triage.cli.batch, triage.cli.clusters, triage.cli.list, triage.cli.show, triage.cli.tui
from triage.cli.main import run

def answer(ask):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, ask["out"]), (2, ask["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.clear()
    os.environ.update(ask["environment"])
    sys.argv = ["triage", *ask["arguments"]]
    status = 1
    try:
        run()
    except SystemExit as leaving:
        status = leaving.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        answer(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Server:
    """Use as a context manager; `run` answers `(exit status, stdout, stderr)`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def __enter__(self) -> Server:
        assert self._line() == "ready"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()  # the loop ends, and with it the process

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
        """Run the command once, in a process of its own."""
        out, err = self._folder / "out", self._folder / "err"
        ask = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "out": str(out),
            "err": str(err),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(ask) + "\n")
        self._process.stdin.flush()
        return int(self._line()), out.read_text("utf-8"), err.read_text("utf-8")
