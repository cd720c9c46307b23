"""Plain native programs in other languages than C: names, inlined frames, and the words of their runtimes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.crashes.conftest import Triaged
from tests.lab.php import FIXTURES
from triage.demo.lab import Process, crash

pytestmark = [pytest.mark.gdb]

_CXX = """
#include <map>
#include <string>
namespace shop {
template <class T> struct Cart {
    std::map<std::string, T> lines;
    __attribute__((always_inline)) T *find(const std::string &name) {
        auto found = lines.find(name);
        return found == lines.end() ? nullptr : &found->second;
    }
    __attribute__((noinline)) T total(const std::string &name) { return *find(name) + 1; }
};
}
int main(int count, char **) { shop::Cart<int> cart; return cart.total(std::string(count, 'x')); }
"""


def _crash(program: Path, folder: Path) -> Path:
    run = folder / "run"
    run.mkdir()
    return crash(Process(argv=(str(program),), folder=run, env={}), folder / "native.core")


def test_rust(triaged: Triaged, tmp_path: Path) -> None:
    """A panic tells its place and the function of the program's own, inlined ones included."""
    if shutil.which("rustc") is None:
        pytest.skip("no rustc here: apt install rustc")
    source = FIXTURES.parent / "rust" / "shop.rs"
    program = tmp_path / "shop"
    command = ["rustc", "-O", "-g", "-C", "panic=abort", "-o", str(program), source.name]
    subprocess.run(command, check=True, cwd=source.parent, timeout=120)
    found = triaged(_crash(program, tmp_path), None)
    own = [frame for frame in found["threads"][0]["frames"] if (frame["function"] or "").startswith("shop::")]
    assert [(f["function"], f["line"], f["inlined"]) for f in own] == [
        ("shop::pick", 3, True),
        ("shop::total", 8, False),
        ("shop::main", 13, False),
    ]
    findings = {finding["rule"]: finding["title"] for finding in found["findings"]}
    assert findings["rust-panic"].endswith("(panic at shop.rs:3:5, in shop::pick())")
    assert findings["blame"] == "The fault is most likely in the program shop (shop::pick())"


def test_cxx(triaged: Triaged, tmp_path: Path) -> None:
    """Names are demangled, templates and all."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ here: apt install g++")
    program = tmp_path / "cart"
    (tmp_path / "cart.cpp").write_text(_CXX)
    subprocess.run(["g++", "-O2", "-g", "-o", str(program), "cart.cpp"], check=True, cwd=tmp_path, timeout=120)
    frames = triaged(_crash(program, tmp_path), None)["threads"][0]["frames"]
    names = [(frame["function"], frame["inlined"]) for frame in frames]
    at = next(n for n, (name, _) in enumerate(names) if name and name.startswith("shop::Cart<int>::total"))
    assert names[at + 1][0] == "main"
    assert not names[at][1]
    assert frames[at]["file"] is not None
