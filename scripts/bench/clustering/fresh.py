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
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpus
import pages
import phptests
import unnamed
from making import Kept, Making, dice_of, lines, make, make_parts
from pages import View
from phps import Php, home

from tests.lab import extension

HERE = Path(__file__).resolve().parent
ORDERS = extension.SOURCE.with_name("orders.c")
STEPS = ("header", "price", "tree", "line", "label", "sort", "discount", "release", "copy", "resolve", "mail",
         "audit", "report", "checksum", "export", "ship", "currency", "receipt", "end")  # fmt: skip
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


def makings(php: Php, bugs: Sequence[Bug], views: tuple[View, ...], extra: tuple[str, ...],
            ways: Sequence[str] = ()) -> Iterator[Making]:  # fmt: skip
    """Each bug in each way of this PHP, or in the given ones."""
    for bug in bugs:
        for way in ways or _WAYS[php.name.split("-")[0]]:
            process = pages.process(php, bug, way, _script(php, bug, way), f"{bug.name}-{way}", extra)
            shown = views if way in _TWO_VIEWS else views[:1]
            yield Making(bug.name, bug.name, "fresh", f"{php.name} {way}", process, shown, php.root)


def _script(php: Php, bug: Bug, way: str) -> Path:
    dice = dice_of(bug.name, php.name, way)
    return pages.script(php, php.work / "fresh", f"{bug.name}-{way}", bug.code, way, dice)


def fpm(php: Php, bugs: Sequence[Bug], kept: Kept, extra: tuple[str, ...]) -> None:
    """The bugs in php-fpm's workers."""
    pages.fpm(php, bugs, kept, extra, "fresh", lambda bug: _script(php, bug, "fpm"))


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
        file, views = pages.library(ORDERS, php, folder)
        make(makings(php, orders(), views, (f"extension={php.inside(file)}",)), kept)
    elif kind == "fpm":
        file, _ = pages.library(ORDERS, php, folder)
        fpm(php, (*orders(), *victims()[::3]), kept, (f"extension={php.inside(file)}",))
    else:
        make(tests(php), kept)


_WHERE = ("debian", "bullseye", "trixie", "own-8.2.32")
PARTS = (*(f"fresh-orders-{where}" for where in _WHERE), "fresh-fpm-debian", "fresh-fpm-bullseye",
         *(f"fresh-victims-{where}" for where in _WHERE),
         *(f"fresh-tests-{where}" for where in (*_WHERE, "bookworm")))  # fmt: skip


TABLES = tuple(f"fresh-tables-{where}" for where in _WHERE)


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
