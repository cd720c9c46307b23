"""Our faulty extension, built against the headers of the PHP that runs here."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.headers import HEADERS, fetch, header_tree
from tests.lab.php import FIXTURES
from tests.lab.suites import CannotMake

SOURCE = FIXTURES.parent / "ext" / "faulty.c"


def build(target: Path, version: tuple[int, int], *flags: str, source: Path = SOURCE) -> Path:
    """Compile an extension (fixtures/ext/faulty.c) for a PHP version; the file lands at `target`.

    Raises:
        CannotMake: without a compiler or without headers of that version.
    """
    tree = _headers(version)
    include = [f"-I{tree / part}" for part in (".", "main", "Zend", "TSRM")]
    argv = [
        "gcc",
        "-shared",
        "-fPIC",
        "-O1",
        "-fstack-protector-strong",
        "-Wl,--build-id",
        "-w",
        *flags,
        *include,
        "-o",
        str(target),
        str(source),
    ]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=300, check=False)
    except FileNotFoundError as error:
        raise CannotMake("gcc is not installed") from error
    if done.returncode:
        raise CannotMake(f"the extension does not compile: {done.stderr.decode(errors='replace')[-300:]}")
    return target


def _headers(version: tuple[int, int]) -> Path:
    """The header tree of a version: this machine's own, else Debian's package unpacked in the user's cache."""
    text = f"{version[0]}.{version[1]}"
    for place in sorted(Path("/usr/include/php").glob("*")):
        main = place / "main" / "php_version.h"
        if main.is_file() and f'"{text}.' in main.read_text(errors="replace"):
            return place
    for headers in HEADERS:
        if headers.php == text:
            return header_tree(fetch(headers))
    raise CannotMake(f"no headers of PHP {text}")
