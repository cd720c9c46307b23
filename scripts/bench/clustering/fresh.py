"""Fresh bugs, made after the others were used up for design: nobody looks at them before the final table.

    .venv/bin/python scripts/bench/clustering/fresh.py [PART…]      make what is missing

Three kinds, each on several PHPs and in several surroundings: values damaged in memory that one of the
language's own functions or operators then uses (victims.txt, one bug a line); an extension with mistakes in
static functions behind one PHP function (fixtures/ext/orders.c, one bug a step); and PHP's regression tests that
were not used before (unnamed.py).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpus
import phptests
import unnamed
import wrappers
from builds import split_debug
from corpus import CACHE, MODES
from making import Kept, Making, Reader, dice_of, lines, make, make_parts, records, served
from phps import Php, home

from tests.lab import extension
from tests.lab.worker import serving
from triage.demo.lab import Process

HERE = Path(__file__).resolve().parent
ORDERS = extension.SOURCE.with_name("orders.c")
STEPS = ("header", "price", "tree", "line", "label", "sort", "discount", "release", "copy", "resolve", "mail",
         "audit", "report", "checksum", "export", "ship", "currency", "receipt", "end")  # fmt: skip
_STACK = 1 << 20
_WAYS: dict[str, tuple[str, ...]] = {
    "debian": ("page-1", "jit"), "bullseye": ("page-1",), "bookworm": ("page-2",), "trixie": ("page-1",),
    "own": ("page-1",), "sid": ("page-1",),
}  # fmt: skip
_TWO_VIEWS = {"plain", "page-1"}


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug to show: its label, the PHP code that shows it, settings it needs."""

    name: str
    code: str
    settings: tuple[str, ...] = ()


def victims(file: str = "victims.txt") -> list[Bug]:
    """The damaged values and what uses them."""
    damage = (HERE / "damage.php").read_text().split("\n", 1)[1]
    found = []
    for line in (HERE / file).read_text().splitlines():
        if line and not line.startswith("#"):
            name, value, what, code = (part.strip() for part in re.split(r" +\| ", line, maxsplit=3))
            page = f"function page() {{ $v = {value}; damage($v, '{what}'); $r = {code}; leave(); }}\npage();"
            found.append(Bug(name if file != "victims.txt" else f"v-{name}", f"{damage}\n{page}", ("ffi.enable=1",)))
    return found


def orders() -> list[Bug]:
    """The extension's mistakes."""
    return [Bug(f"o-{step}", f"function buy($s) {{ $r = orders_run($s); unset($r); }}\nbuy('{step}');")
            for step in STEPS]  # fmt: skip


def library(php: Php, folder: Path) -> tuple[Path, tuple[tuple[str, Path | None], ...]]:
    """The stripped extension where this PHP sees it, and the views its crashes are read with."""
    built = extension.build(folder / "orders.so", php.version, "-g", source=ORDERS)
    debug = php.views[1][1] if len(php.views) > 1 and php.views[1][1] else folder / "debug"
    split_debug(built, debug)
    place = php.work / "orders"
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["strip", "--strip-all", "-o", str(place / "orders.so"), str(built)], check=True)
    return place / "orders.so", (("stripped", None), ("symbols", debug))


def makings(php: Php, bugs: Sequence[Bug], views: tuple[tuple[str, Path | None], ...], extra: tuple[str, ...],
            ways: Sequence[str] = ()) -> Iterator[Making]:  # fmt: skip
    """Each bug in each way of this PHP, or in the given ones."""
    for bug in bugs:
        for way in ways or _WAYS[php.name.split("-")[0]]:
            condition = f"{php.name} {way}"
            script = _script(php, bug, way)
            mode = "off" if way != "jit" else dice_of(bug.name).choice(("opcache", "jit"))
            settings = (*bug.settings, *extra, *MODES[mode])
            if mode != "off" and "opcache" in php.zend_extensions:
                settings = (f"zend_extension={php.zend_extensions['opcache']}", *settings)
            options = tuple(part for value in (*phptests.SETTINGS, *settings) for part in ("-d", value))
            run = php.work / "runs" / f"{bug.name}-{way}"
            process = Process(argv=php.command(run, (*options, php.inside(script))), folder=run, env={}, stack=_STACK)
            shown = views if way in _TWO_VIEWS else views[:1]
            yield Making(bug.name, bug.name, "fresh", condition, process, shown, php.root)


def _script(php: Php, bug: Bug, way: str) -> Path:
    place = php.work / "fresh"
    place.mkdir(parents=True, exist_ok=True)
    dice = dice_of(bug.name, php.name, way)
    text = f"<?php\n{bug.code}\n"
    if way != "plain":
        text = wrappers.renamed(text, f"_{dice.randrange(1 << 20):x}")
    script = place / f"{bug.name}-{way}.php"
    script.write_text(text)
    if way == "plain":
        return script
    page = place / f"{bug.name}-{way}-page.php"
    page.write_text(wrappers.page(php.inside(script), dice))
    return page


def fpm(php: Php, bugs: Sequence[Bug], kept: Kept, extra: tuple[str, ...]) -> None:
    """The bugs in php-fpm's workers, of this machine or of another release."""
    program = f"/usr/sbin/php-fpm{php.version[0]}.{php.version[1]}"
    settings = (*phptests.SETTINGS, *CACHE, "ffi.enable=1", *extra)
    options = tuple(part for value in settings for part in ("-d", value))
    reader = Reader()
    condition = f"{php.name} fpm"
    with serving(program, php.work, php.root, options) as workers:
        for bug in bugs:
            if f"{bug.name} {condition}" in kept.done:
                continue
            script = _script(php, bug, "fpm")
            found: list[dict[str, Any]] = []
            core = served(workers, php.inside(script), script.parent, {})
            if core is not None:
                process = Process(argv=(), folder=php.work, env={})
                making = Making(bug.name, bug.name, "fresh", condition, process, php.views[:1], php.root)
                found = records(making, core, reader)
                core.unlink()
            kept.add(f"{bug.name} {condition}", found)
    reader.close()


def tests(php: Php) -> Iterator[Making]:
    """The regression tests not used before that kill one of the PHPs."""
    used = {record["bug"] for record in corpus.traces()}
    dying, foul = set(), set()
    for path in sorted(home().glob("fresh-*-*.json")):
        found = unnamed.load(path)
        dying |= found
        foul |= found if path.stem.endswith("foul") else set()
    plain = {one for path in sorted(home().glob("fresh-*-plain.json")) for one in unnamed.load(path)}
    known = (*unnamed.unnamed(php.tree), *phptests.tests(php.tree))
    fresh = [test for test in known if test.path in dying and test.bug not in used]
    yield from corpus.regression(php, [t for t in fresh if t.path in dying], foul - plain)


def part(name: str) -> None:
    """Make one part."""
    kept = Kept(home() / "traces" / f"{name}.jsonl.gz")
    _, kind, where = name.split("-", 2)
    php = corpus.php_of(where)
    folder = home() / "work" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if kind == "victims":
        make(makings(php, victims(), php.views, ()), kept)
    elif kind == "tables":
        make(makings(php, victims("victims2.txt"), php.views, (), ("page-1",)), kept)
    elif kind == "orders":
        file, views = library(php, folder)
        make(makings(php, orders(), views, (f"extension={php.inside(file)}",)), kept)
    elif kind == "fpm":
        file, _ = library(php, folder)
        fpm(php, (*orders(), *victims()[::3]), kept, (f"extension={php.inside(file)}",))
    else:
        make(tests(php), kept)


_WHERE = ("debian", "bullseye", "trixie", "own-8.2.32")
PARTS = (*(f"fresh-orders-{where}" for where in _WHERE), "fresh-fpm-debian", "fresh-fpm-bullseye",
         *(f"fresh-victims-{where}" for where in _WHERE),
         *(f"fresh-tests-{where}" for where in (*_WHERE, "bookworm")))  # fmt: skip


NEWEST = tuple(f"fresh-tables-{where}" for where in _WHERE)


def traces(parts: Sequence[str] = PARTS) -> Iterator[dict[str, Any]]:
    """All that is kept and shows its bug, as `corpus.traces`."""
    for name in parts:
        seen = set()
        for record in lines(home() / "traces" / f"{name}.jsonl.gz"):
            if record["crash"] is None or not _shows(record):
                continue
            which = (record["made"], record["view"])
            if which not in seen:  # two runs at once may have made one twice
                seen.add(which)
                yield record


def _shows(record: dict[str, Any]) -> bool:
    """Whether the bug's own victim died of the value.

    Without a code cache PHP counts a value's references when it hands it to a function, and dies of a wild pointer
    there, whichever function was to get it: that is one and the same crash under the labels of many. So a crash
    counts for a function only where the innermost frame of PHP's own stack is a built-in function's.
    """
    if record["bug"][:2] not in ("v-", "e-", "k-") or record["bug"].startswith("v-op-"):
        return True
    frames = next((thread["frames"] for thread in record["crash"]["threads"] if thread["crashed"]), [])
    innermost = next((frame for frame in frames if frame["kind"] == "php"), None)
    return innermost is not None and innermost["file"] is None


if __name__ == "__main__":
    sys.exit(make_parts(sys.argv[1:] or PARTS, part, traces, "fresh bugs"))
