"""The mistakes of fixtures/ext/gallery.c kill where clustering's mistakes.txt says: set C's labels rest on that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crashes.conftest import Triaged, some
from tests.lab.extension import SOURCE, build
from tests.lab.suites import CannotMake
from triage.demo.crashes import find_php
from triage.demo.lab import Process, crash

pytestmark = [pytest.mark.php, pytest.mark.gdb]

GALLERY = SOURCE.with_name("gallery.c")
LIST = Path(__file__).parents[2] / "scripts" / "bench" / "clustering" / "mistakes.txt"


def mistakes() -> Iterator[tuple[str, str, str]]:
    """(name, the C function it dies in, the PHP code)"""
    for line in LIST.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, function, code = (part.strip() for part in re.split(r" +\| ", line, maxsplit=3))
            yield name, function, code


MISTAKES = {name: (function, code) for name, function, code in mistakes()}


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command line of this machine's PHP with the extension."""
    php = find_php()
    if php is None:
        pytest.skip("no php here: apt install php-cli")
    try:
        library = build(tmp_path_factory.mktemp("gallery") / "gallery.so", php.version, source=GALLERY)
    except CannotMake as reason:
        pytest.skip(str(reason))
    return (php.path, "-d", f"extension={library}")


@pytest.mark.parametrize("version", [(7, 4), (8, 2), (8, 4)])
def test_it_builds(version: tuple[int, int], tmp_path: Path) -> None:
    try:
        built = build(tmp_path / "gallery.so", version, source=GALLERY)
    except CannotMake as reason:
        if "does not compile" in str(reason):
            raise
        pytest.skip(str(reason))
    assert built.read_bytes().startswith(b"\x7fELF")


@pytest.mark.parametrize("name", some(MISTAKES, {"untyped", "lock", "saving"}))
def test_a_mistake_kills_where_it_should(
    name: str, command: tuple[str, ...], triaged: Triaged, tmp_path: Path
) -> None:
    function, code = MISTAKES[name]
    script = tmp_path / "page.php"
    script.write_text(f"<?php\nfunction page() {{ {code} }}\npage();\n")
    process = Process(argv=(*command, str(script)), folder=tmp_path, env={}, stack=1 << 20)
    found = triaged(crash(process, tmp_path / "page.core"), None)
    [frames] = [thread["frames"] for thread in found["threads"] if thread["crashed"]]
    assert function in [frame["function"] for frame in frames if frame["kind"] == "native"]
