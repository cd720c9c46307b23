"""Sets C, D and E: sealed bugs, labelled from PHP's source before any trace was made; nothing is tuned on them.

    .venv/bin/python scripts/bench/clustering/sealed.py [PART…]         make what is missing
    .venv/bin/python scripts/bench/clustering/sealed.py --check [SET]   how many; which died elsewhere than meant

Three kinds: mistakes of an extension (mistakes.txt, fixtures/ext/gallery.c); values damaged in memory that one of
PHP's own C functions then uses (damages.txt); bugs that PHP has by itself, which are its regression tests in ways not
tried before (sealedtests.py) and recursion without a limit (recursions.txt). A label is one bug: one mistake in, or
one damaged structure mishandled by, one C function. The head of each list says how that was decided. Set D (`last`)
was made by the same means when set C had judged: mistakes2.txt with fixtures/ext/freight.c, damages2.txt,
recursions2.txt, no regression tests. Set E (`newest`) likewise when set D had judged: mistakes3.txt with
fixtures/ext/theatre.c, damages3.txt, recursions3.txt, with no recursion through functions of the script's own.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpus  # first: it finds the project
import pages
import sealedtests
from making import Kept, Making, dice_of, lines, make, make_parts
from pages import View
from phps import Php, home

from tests.lab import extension

HERE = Path(__file__).resolve().parent
_TWO_VIEWS = "page-1"
_OWN_FUNCTION = re.compile(r"\b(?:function|fn|include|require)\b", re.IGNORECASE)
_NOT_OF_DAMAGES = "plain"  # there are twice as many of them as of others: fewer traces of each keep the balance
KINDS = {
    "m-": "mistakes of an extension",
    "d-": "damaged values",
    "r-": "recursion without a limit",
    "": "PHP's own bugs",
}
"""Kinds of bugs by how their labels begin; the last is that of all others, which are from PHP's tests."""


@dataclass(frozen=True, slots=True)
class SealedSet:
    """A set of such bugs: the lists' files, the extension with the mistakes, the ways in which each PHP is made to
    meet a bug, and the parts that the traces are made and kept in. Where the recursions are `php_alone`, none may run
    through the script's own functions.
    """

    name: str
    source: Path
    mistakes: str
    damages: str
    recursions: str
    ways: Mapping[str, tuple[str, ...]]
    parts: tuple[str, ...]
    php_alone: bool = False


_WHERE = ("debian", "bullseye", "trixie", "own-8.2.32")
SET_C = SealedSet(
    "sealed", extension.SOURCE.with_name("gallery.c"), "mistakes.txt", "damages.txt", "recursions.txt",
    {"debian": ("page-1", "jit", "plain"), "bullseye": ("page-1", "plain"), "trixie": ("page-1",),
     "own": ("page-1",)},
    (*(f"sealed-{kind}-{where}" for kind in ("mistakes", "damages", "recursions", "tests") for where in _WHERE),
     "sealed-fpm-debian", "sealed-fpm-bullseye"),
)  # fmt: skip
SET_D = SealedSet(
    "last", extension.SOURCE.with_name("freight.c"), "mistakes2.txt", "damages2.txt", "recursions2.txt",
    {"debian": ("page-1", "jit"), "bullseye": ("page-1", "plain"), "trixie": ("page-1",), "own": ("page-1",)},
    tuple(f"last-{kind}-{where}" for kind in ("mistakes", "damages", "recursions") for where in _WHERE),
)  # fmt: skip
SET_E = SealedSet(
    "newest", extension.SOURCE.with_name("theatre.c"), "mistakes3.txt", "damages3.txt", "recursions3.txt",
    SET_D.ways, tuple(f"newest-{kind}-{where}" for kind in ("mistakes", "damages", "recursions") for where in _WHERE),
    php_alone=True,
)  # fmt: skip
SETS = {each.name: each for each in (SET_C, SET_D, SET_E)}


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug to show. `function` is the C function that must be on its stack; `shows` the function of PHP whose frame
    must be the innermost of PHP's own stack (`*`: any, `-`: a script's, where the language itself uses the value).
    """

    name: str
    function: str
    code: str
    shows: str = "*"
    settings: tuple[str, ...] = ()


def kind_of(bug: str) -> str:
    """The kind of a bug's label."""
    return KINDS.get(bug[:2], KINDS[""])


def _rows(file: str, columns: int) -> Iterator[list[str]]:
    for line in (HERE / file).read_text().splitlines():
        if line and not line.startswith("#"):
            yield [part.strip() for part in re.split(r" +\| ", line, maxsplit=columns - 1)]


def mistakes(of: SealedSet) -> list[Bug]:
    """Those of the extension."""
    return [Bug(f"m-{name}", function, f"function page() {{ {code} }}\npage();")
            for name, _, function, code in _rows(of.mistakes, 4)]  # fmt: skip


def damages(of: SealedSet) -> list[Bug]:
    """Damaged values and what uses them."""
    tools = (HERE / "poke.php").read_text().split("\n", 1)[1]
    found = []
    for name, function, shows, value, place, code in _rows(of.damages, 6):
        page = f"function page() {{ $v = {value}; poke($v, '{place}'); $r = {code}; leave(); }}\npage();"
        found.append(Bug(f"d-{name}", function, f"{tools}\n{page}", shows, ("ffi.enable=1",)))
    return found


def recursions(of: SealedSet) -> list[Bug]:
    """What PHP itself recurses in without a limit.

    Raises:
        ValueError: where a line has a function of the script's own, and the set is of PHP alone.
    """
    for name, _, code in _rows(of.recursions, 3):
        if of.php_alone and _OWN_FUNCTION.search(code):
            raise ValueError(f"{of.recursions}: {name} may have no function of the script's own")
    return [Bug(f"r-{name}", function, f"function page() {{ {code} }}\npage();")
            for name, function, code in _rows(of.recursions, 3)]  # fmt: skip


def every(of: SealedSet) -> tuple[Bug, ...]:
    """All that the set's lists have."""
    return (*mistakes(of), *damages(of), *recursions(of))


def makings(
    of: SealedSet, php: Php, bugs: Sequence[Bug], views: tuple[View, ...], extra: tuple[str, ...]
) -> Iterator[Making]:
    """Each bug in each way of this PHP."""
    for bug in bugs:
        for way in of.ways[php.name.split("-")[0]]:
            if way == _NOT_OF_DAMAGES and bug.name.startswith("d-"):
                continue
            script = _script(php, bug, way)
            process = pages.process(php, bug, way, script, script.stem, extra)
            shown = views if way == _TWO_VIEWS else views[:1]
            yield Making(bug.name, bug.name, of.name, f"{php.name} {way}", process, shown, php.root)


def _script(php: Php, bug: Bug, way: str) -> Path:
    """The script: its name says nothing of the bug, as nothing in production would."""
    dice = dice_of(bug.name, php.name, way)
    name = f"{dice.randrange(1 << 32):08x}"
    return pages.script(php, php.work / "sealed", name, bug.code, way, dice)


def part(name: str) -> None:
    """Make one part."""
    kept = Kept(home() / "traces" / f"{name}.jsonl.gz")
    title, kind, where = name.split("-", 2)
    of, php = SETS[title], corpus.php_of(where)
    folder = home() / "work" / name
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "mistakes":
        file, views = pages.library(of.source, php, folder)
        make(makings(of, php, mistakes(of), views, (f"extension={php.inside(file)}",)), kept)
    elif kind == "damages":
        make(makings(of, php, damages(of), php.views, ()), kept)
    elif kind == "recursions":
        make(makings(of, php, recursions(of), php.views, ()), kept)
    elif kind == "fpm":
        file, _ = pages.library(of.source, php, folder)
        chosen = (*mistakes(of)[::2], *damages(of)[::2], *recursions(of)[::2])
        extra = (f"extension={php.inside(file)}",)
        pages.fpm(php, chosen, kept, extra, "sealed", lambda bug: _script(php, bug, "fpm"))
    else:
        make(sealedtests.makings(php), kept)


def traces(of: SealedSet = SET_C) -> Iterator[dict[str, Any]]:
    """All that is kept and shows its bug, as `corpus.traces`."""
    wanted = {bug.name: bug for bug in every(of)}
    for name in of.parts:
        seen = set()
        for record in lines(home() / "traces" / f"{name}.jsonl.gz"):
            if record["crash"] is None or not _shows(record, wanted.get(record["bug"])):
                continue
            if record["bug"].startswith("d-") and record["condition"].endswith(_NOT_OF_DAMAGES):
                continue
            which = (record["made"], record["view"])
            if which not in seen:
                seen.add(which)
                yield record


def _shows(record: dict[str, Any], bug: Bug | None) -> bool:
    """Whether the process died where the bug is, as PHP's own stack tells it, which no clustering decided.

    A damaged value may kill earlier, where PHP hands it over. So a crash counts for a label only where PHP's
    innermost frame is the function that the label names.
    """
    if bug is None:
        return record["bug"][:2] not in KINDS  # else it is no longer in a list
    if bug.shows == "*":
        return True
    innermost = next((frame for frame in _stack(record) if frame["kind"] == "php"), None)
    if innermost is None:
        return False
    if bug.shows == "-":
        return innermost["file"] is not None
    name = f"{innermost['class']}::{innermost['function']}" if innermost["class"] else innermost["function"]
    return innermost["file"] is None and name == bug.shows


def _stack(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The frames of the thread that died."""
    return next((thread["frames"] for thread in record["crash"]["threads"] if thread["crashed"]), [])


def check(of: SealedSet) -> int:
    """Print how many traces there are of what, and the bugs whose crash, read with symbols, does not have the C
    function on its stack that must be there. Nothing of it is a cluster.
    """
    wanted = {bug.name: bug.function for bug in every(of)}
    found: dict[str, set[str]] = {}
    kept = list(traces(of))
    _print_sizes(kept)
    for record in kept:
        if record["bug"] in wanted:
            names = found.setdefault(record["bug"], set())
            if record["view"] == "symbols":
                names |= {f["function"] for f in _stack(record) if f["kind"] == "native" and f["function"]}
    for bug, function in wanted.items():
        if function not in found.get(bug, ()):
            print(f"{bug}: {function} is not on its stack" if bug in found else f"{bug}: no crash")
    return 0


def _print_sizes(kept: Sequence[dict[str, Any]]) -> None:
    for title in KINDS.values():
        bugs = [record["bug"] for record in kept if kind_of(record["bug"]) == title]
        print(f"{title}: {len(set(bugs))} bugs, {len(bugs)} traces")
    for condition, count in sorted(Counter(f"{r['condition']}, {r['view']}" for r in kept).items()):
        print(f"  {condition}: {count}")
    old, new = ({r["bug"] for r in kept if version in r["condition"]} for version in ("-7.4", "-8.2"))
    print(
        f"{len({record['bug'] for record in kept})} bugs, {len(kept)} traces; on 7.4 and 8.2: {len(old & new)} bugs"
    )


def main(argv: Sequence[str]) -> int:
    """Check a set or make parts, by default set C's; an exit status."""
    if argv[:1] == ["--check"]:
        return check(SETS[argv[1] if argv[1:] else SET_C.name])
    of = SETS[argv[0].split("-")[0]] if argv else SET_C
    return make_parts(argv or of.parts, part, lambda: traces(of), "sealed bugs")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
