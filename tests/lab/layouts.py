"""scripts/layouts: structure tables made anew from PHP's headers, compared with the shipped ones or written."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from tests.lab.headers import HEADERS, Headers, cross_compiler, fetch, header_tree
from tests.lab.suites import CannotMake
from triage.errors import TriageError
from triage.runtimes.php.donor import layout_table, render, render_parts

Table = dict[str, Any]
_DATA = Path(str(resources.files("triage.runtimes.php")))


def shipped_file(key: str) -> Path:
    """The file of a version and mode such as `8.2-nts`."""
    return _DATA / "layouts" / f"{key}.json"


def shipped_parts() -> dict[str, Table]:
    """The structures that differ on aarch64, by minor version."""
    parts: dict[str, Table] = json.loads((_DATA / "aarch64.json").read_text())
    return parts


def unlike(made: Table, base: Table) -> Table:
    """The structures of `made` that `base` has not at all or otherwise."""
    return {name: entry for name, entry in made["structs"].items() if base["structs"].get(name) != entry}


def differences(shipped: Any, made: Any, at: str = "") -> Iterator[str]:
    """One line for each value that two tables do not share: `structs.zval.fields.u1: [8, 4] -> [8, 8]`."""
    if isinstance(shipped, Mapping) and isinstance(made, Mapping):
        for name in sorted({*shipped, *made}):
            yield from differences(shipped.get(name), made.get(name), f"{at}.{name}" if at else name)
    elif shipped != made:
        yield f"{at}: {json.dumps(shipped)} -> {json.dumps(made)}"


def x86_64(tables: Sequence[Table], *, write: bool) -> list[str]:
    """Compare with the layout files, or write them; the lines to show."""
    lines = []
    for table in tables:
        path = shipped_file(table["version"])
        old = json.loads(path.read_text()) if path.exists() else {}
        lines += [f"{table['version']}: {line}" for line in differences(old, table)]
        if write:
            path.write_text(render(table))
    return lines


def aarch64(tables: Sequence[Table], *, write: bool) -> list[str]:
    """The same with what differs from the layout files, in `aarch64.json`."""
    parts, lines = shipped_parts(), []
    for table in tables:
        minor = table["version"].partition("-")[0]
        new = unlike(table, json.loads(shipped_file(table["version"]).read_text()))
        lines += [f"{table['version']}: {line}" for line in differences(parts.get(minor, {}), new)]
        parts[minor] = new
    if write:
        (_DATA / "aarch64.json").write_text(render_parts(dict(sorted(parts.items()))))
    return lines


TARGETS: dict[str, tuple[str, Callable[..., list[str]]]] = {
    "x86_64": ("amd64", x86_64),
    "aarch64": ("arm64", aarch64),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all tables are as shipped (or were written), 1 when one differs, 3 when something is lacking."""
    options = _parser().parse_args(arguments)
    architecture, compare = TARGETS[options.target]
    try:
        trees = [header_tree(Path(name)) for name in options.headers]
        trees += [fetch(_suite(name), architecture) for name in options.fetch]
        compiler = _compiler(options.target, options.compiler)
        tables = [layout_table(tree, zts=zts, compiler=compiler) for tree in trees for zts in (False, True)]
    except (CannotMake, TriageError) as error:
        print(f"scripts/layouts: {error}", file=sys.stderr)
        return 3
    lines = compare(tables, write=options.write)
    print(*lines, sep="\n", end="\n" if lines else "")
    verb = "written" if options.write else "compared"
    print(f"{verb}: {', '.join(table['version'] for table in tables)}; {len(lines)} differences", file=sys.stderr)
    return 1 if lines and not options.write else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/layouts", description=__doc__)
    parser.add_argument("headers", nargs="*", metavar="HEADERS",
                        help="a tree with main/php.h in it, or an unpacked php-dev package")  # fmt: skip
    parser.add_argument("--fetch", action="append", default=[], metavar="SUITE[=PHP]",
                        help="headers of a Debian suite, such as bookworm or sid=8.5, not installed")  # fmt: skip
    parser.add_argument("--target", choices=TARGETS, default="x86_64",
                        help="the machine; for aarch64 a cross compiler is fetched")  # fmt: skip
    parser.add_argument("--compiler", metavar="COMMAND",
                        help="a compiler for that machine: gcc, 'zig cc -target aarch64-linux-gnu'")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write the tables instead of comparing them")
    return parser


def _suite(name: str) -> Headers:
    suite, _, php = name.partition("=")
    known = {each.suite: each.php for each in HEADERS}
    if not php and suite not in known:
        raise CannotMake(f"say which PHP of {suite}: --fetch {suite}=8.3")
    return Headers(suite, php or known[suite])


def _compiler(target: str, chosen: str | None) -> Sequence[str]:
    if chosen:
        return shlex.split(chosen)
    return ("gcc",) if target == "x86_64" else cross_compiler()


if __name__ == "__main__":
    sys.exit(main())
