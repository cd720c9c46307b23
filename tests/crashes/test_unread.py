"""Interpreters that are not read: the native result whole, generated code marked, a hint what reads the rest."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.crashes.conftest import Triaged
from triage.demo.lab import Process, crash

pytestmark = [pytest.mark.gdb]

_JAVASCRIPT = """
function price(n) {
  let sum = 0; for (let i = 0; i < 1e5; i++) sum += i; if (n > 60) process.kill(process.pid, 'SIGSEGV')
}
for (let n = 0; n < 100; n++) price(n)
"""
_TINY = """
#include <stdio.h>
int run(FILE *script) { return fgetc(script) + *(volatile int *)8; }
int main(int count, char **given) { return run(fopen(given[1], "r")); }
"""


def test_node(triaged: Triaged, tmp_path: Path) -> None:
    """Version, script and the native stack as far as there are real frames; no word of the stack taken for one."""
    if shutil.which("node") is None:
        pytest.skip("no node here: apt install nodejs")
    script = tmp_path / "shop.js"
    script.write_text(_JAVASCRIPT)
    run = tmp_path / "run"
    run.mkdir()
    found = triaged(crash(Process(argv=("node", str(script)), folder=run, env={}), tmp_path / "node.core"), None)
    runtime = found["runtime"]
    assert (runtime["name"], runtime["script"], runtime["jit"]) == ("node", str(script), True)
    assert runtime["version"].count(".") == 2
    frames = next(thread for thread in found["threads"] if thread["crashed"])["frames"]
    assert "kill" in frames[0]["function"]
    assert all(frame["function"] or frame["note"] == "jit" for frame in frames)
    assert any("docs/runtimes.md" in warning for warning in found["warnings"])
    assert found["status"] == "ok"


def test_an_interpreter_of_no_kind_known(triaged: Triaged, tmp_path: Path) -> None:
    program, script, run = tmp_path / "tinylang", tmp_path / "menu.lua", tmp_path / "run"
    (tmp_path / "tinylang.c").write_text(_TINY)
    script.write_text("print(1)")
    run.mkdir()
    subprocess.run(["gcc", "-O0", "-o", str(program), str(tmp_path / "tinylang.c")], check=True)
    found = triaged(
        crash(Process(argv=(str(program), str(script)), folder=run, env={}), tmp_path / "tiny.core"), None
    )
    assert found["runtime"] is None
    assert [f["function"] for f in found["threads"][0]["frames"]][:2] == ["run", "main"]
    assert found["findings"][0]["rule"] == "null-pointer"
    assert found["warnings"] == [
        f"tinylang was given the script {script}, so it seems to be an interpreter, one that triage does not read: "
        "only the native stack is shown. docs/runtimes.md says how a runtime is added."
    ]
    assert found["status"] == "ok"
