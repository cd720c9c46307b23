"""The mistakes of fixtures/ext/freight.c kill where clustering's mistakes2.txt says: set D's labels rest on that."""

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

FREIGHT = SOURCE.with_name("freight.c")
LIST = Path(__file__).parents[2] / "scripts" / "bench" / "clustering" / "mistakes2.txt"


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
        library = build(tmp_path_factory.mktemp("freight") / "freight.so", php.version, source=FREIGHT)
    except CannotMake as reason:
        if "does not compile" in str(reason):
            raise
        pytest.skip(str(reason))
    return (php.path, "-d", f"extension={library}")


# `facts` and `method` die in PHP's own code, whose names this machine's stripped PHP does not have.
NAMED = set(MISTAKES) - {"facts", "method"}


@pytest.mark.parametrize("name", some(sorted(NAMED), {"compare", "behind", "crate"}))
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
