"""The mistakes of three extensions kill where clustering's lists say: the labels of sets C, D and E rest on that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.crashes.conftest import Triaged, some
from tests.lab.extension import SOURCE, build
from tests.lab.suites import CannotMake
from triage.demo.crashes import find_php
from triage.demo.lab import Process, crash

pytestmark = [pytest.mark.php, pytest.mark.gdb]

LISTS = Path(__file__).parents[2] / "scripts" / "bench" / "clustering"
LIST_OF = {"gallery": "mistakes.txt", "freight": "mistakes2.txt", "theatre": "mistakes3.txt"}
# `facts` and `method` die in PHP's own code, whose names this machine's stripped PHP does not have.
UNNAMED = {"freight-facts", "freight-method"}
FEW = {
    *("gallery-untyped", "gallery-lock", "gallery-saving"),
    *("freight-compare", "freight-behind", "freight-crate"),
    *("theatre-keeper", "theatre-give-up", "theatre-profile"),
}


def mistakes(extension: str) -> Iterator[tuple[str, str, str]]:
    """(name, the C function it dies in, the PHP code)"""
    for line in (LISTS / LIST_OF[extension]).read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, function, code = (part.strip() for part in re.split(r" +\| ", line, maxsplit=3))
            yield name, function, code


MISTAKES = {
    f"{extension}-{name}": (extension, function, code)
    for extension in LIST_OF
    for name, function, code in mistakes(extension)
}


def built(extension: str, folder: Path, version: tuple[int, int]) -> Path:
    """The extension for a PHP; the test is skipped where that cannot be had, and fails where it does not compile."""
    try:
        return build(folder / f"{extension}.so", version, source=SOURCE.with_name(f"{extension}.c"))
    except CannotMake as reason:
        if "does not compile" in str(reason):
            raise
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[str, ...]]:
    """The command line of this machine's PHP with an extension, by its name."""
    php = find_php()
    if php is None:
        pytest.skip("no php here: apt install php-cli")

    @cache
    def line(extension: str) -> tuple[str, ...]:
        library = built(extension, tmp_path_factory.mktemp(extension), php.version)
        return (php.path, "-d", f"extension={library}")

    return line


@pytest.mark.parametrize("version", [(7, 4), (8, 2), (8, 4)])
@pytest.mark.parametrize("extension", LIST_OF)
def test_it_builds(extension: str, version: tuple[int, int], tmp_path: Path) -> None:
    assert built(extension, tmp_path, version).read_bytes().startswith(b"\x7fELF")


@pytest.mark.parametrize("name", some([name for name in MISTAKES if name not in UNNAMED], FEW))
def test_a_mistake_kills_where_it_should(
    name: str, command: Callable[[str], tuple[str, ...]], triaged: Triaged, tmp_path: Path
) -> None:
    extension, function, code = MISTAKES[name]
    script = tmp_path / "page.php"
    script.write_text(f"<?php\nfunction page() {{ {code} }}\npage();\n")
    process = Process(argv=(*command(extension), str(script)), folder=tmp_path, env={}, stack=1 << 20)
    found = triaged(crash(process, tmp_path / "page.core"), None)
    [frames] = [thread["frames"] for thread in found["threads"] if thread["crashed"]]
    assert function in [frame["function"] for frame in frames if frame["kind"] == "native"]
