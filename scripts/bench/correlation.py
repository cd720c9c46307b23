"""How often the correlation finds the cause of synthetic fleets' crashes, beside plain Fisher and Ochiai.

    nice .venv/bin/python scripts/bench/correlation.py [--fleets 200] [--quick]

A fleet has hosts of four roles, 40 options, 25 extensions, PHP, kernel and processor versions; each host
drifts from its role in 10 or 30 % of them. One, two or three attributes that 3 to 50 % of the hosts have are
the cause; a crash falls on any host that has them all, one in ten on any host whatever. Candidates that select
the same hosts count as one (no data can tell them apart). Columns:

    first    the true rule stands in the first line
    five     in one of the first five
    same     the first line selects exactly the hosts that the truth selects
    said     the first line is said at all (not silent)
    fisher, ochiai    `first` for single attributes ranked by Fisher's p or Ochiai's coefficient, ties as one
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from triage.insight.correlate import Attribute, Comparison, Unit, compare
from triage.insight.correlate.attributes import Masks, masks
from triage.insight.statistics import fisher

ROLES, OPTIONS, EXTENSIONS, UNRELATED = 4, 40, 25, 0.1


@dataclass(frozen=True)
class Cell:
    """One line of the table. `size` 0 is the null: crashes fall on any host."""

    hosts: int
    crashes: int
    size: int
    drift: float
    lumpy: bool = False


@dataclass(frozen=True)
class Result:
    """What became of one fleet."""

    first: bool
    five: bool
    same: bool
    said: bool
    fisher: bool
    ochiai: bool
    tied: int


def fleet(rng: random.Random, hosts: int, drift: float) -> list[frozenset[Attribute]]:
    """Each host's attributes."""
    roles = [_profile(rng) for _ in range(ROLES)]
    return [frozenset(_drifted(rng, rng.choice(roles), drift)) for _ in range(hosts)]


def _choices() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """What can differ: the first value is the default, which a core does not record (empty)."""
    for at in range(OPTIONS):
        yield "option", f"option.{at}", ("", "1") if at % 4 else ("", "a", "b")
    for at in range(EXTENSIONS):
        yield "extension", f"ext{at}", ("", "1.0")
    yield "version", "php", ("8.2.28", "8.2.29", "8.2.36")
    yield "version", "kernel", ("6.1.0-30", "6.1.0-37")
    yield "version", "processor", ("epyc", "xeon")


def _profile(rng: random.Random) -> dict[tuple[str, str], str]:
    return {(family, name): rng.choice(values) for family, name, values in _choices()}


def _drifted(rng: random.Random, role: dict[tuple[str, str], str], drift: float) -> Iterator[Attribute]:
    for family, name, values in _choices():
        value = role[family, name]
        if rng.random() < drift:
            value = rng.choice([other for other in values if other != value])
        if value:
            yield Attribute(family, name, value)


def cause(rng: random.Random, units: list[frozenset[Attribute]], size: int) -> frozenset[Attribute] | None:
    """Attributes that 3 to 50 % of the hosts have, all of them needed."""
    everything = sorted({attribute for unit in units for attribute in unit})
    for _ in range(2000):
        chosen = frozenset(rng.sample(everything, size))
        having = sum(chosen <= unit for unit in units)
        fewer = any(sum(chosen - {one} <= unit for unit in units) == having for one in chosen) if size > 1 else False
        if max(1, 0.03 * len(units)) <= having <= 0.5 * len(units) and not fewer:
            return chosen
    return None


def trial(work: tuple[Cell, int]) -> Result:
    """One fleet."""
    cell, seed = work
    rng = random.Random(f"{cell}{seed}")
    rule: frozenset[Attribute] | None = None
    while rule is None:
        hosts = fleet(rng, cell.hosts, cell.drift)
        rule = cause(rng, hosts, cell.size) if cell.size else frozenset()
    having = [host for host in range(cell.hosts) if rule <= hosts[host]]
    weights = [rng.lognormvariate(0, 1.2) if cell.lumpy else 1.0 for _ in having]
    fell = [
        rng.randrange(cell.hosts) if rng.random() < UNRELATED else rng.choices(having, weights)[0]
        for _ in range(cell.crashes)
    ]
    controls = [Unit(unit, f"host{at}") for at, unit in enumerate(hosts)]
    cases = [controls[at] for at in fell]
    return judge(compare(cases, controls), cases, controls, rule)


def judge(found: Comparison, cases: list[Unit], controls: list[Unit], rule: frozenset[Attribute]) -> Result:
    """Hold what was found against the truth."""
    known = masks(cases, controls)
    truth = Masks(-1, -1)
    for one in rule:
        truth = Masks(truth.cases & known[one].cases, truth.controls & known[one].controls)
    ranks = [at for at, candidate in enumerate(found.ranked[:5]) if candidate.holds(rule)]
    top = found.ranked[0] if found.ranked else None
    return Result(
        first=0 in ranks, five=bool(ranks), same=top is not None and top.masks.controls == truth.controls,
        said=bool(found.said), tied=len(top.alternatives) if top else 0,
        fisher=_plain(known, cases, controls, truth, lambda a, n, b, m: fisher(a, n, b, m)),
        ochiai=_plain(known, cases, controls, truth, lambda a, n, b, m: -(a / n) / sqrt(a / n + b / m)),
    )  # fmt: skip


def _plain(known, cases, controls, truth, score) -> bool:  # type: ignore[no-untyped-def]
    """Whether the best single attribute by `score` (lowest) selects whom the truth selects."""
    counted = {m: score(m.cases.bit_count(), len(cases), m.controls.bit_count(), len(controls))
               for m in known.values() if m.cases}  # fmt: skip
    return min(counted, key=counted.__getitem__) == truth


def cells(*, quick: bool) -> list[Cell]:
    """The table's lines; those of which something is asked come first."""
    plain = [
        Cell(hosts, crashes, size, drift)
        for size in (1, 2, 0, 3) for crashes in (20, 10, 50, 5) for hosts in (60, 24, 200) for drift in (0.1, 0.3)
    ]  # fmt: skip
    lumpy = [Cell(hosts, 20, size, 0.1, lumpy=True) for size in (0, 1) for hosts in (24, 60, 200)]
    wanted = [cell for cell in plain if cell.crashes in (10, 20) and _asks(cell)]
    rest = [cell for cell in (*plain, *lumpy) if cell not in wanted]
    return wanted if quick else [*wanted, *rest]


def _asks(cell: Cell) -> bool:
    """Whether issue 8 asks something of a line."""
    return cell.size in (0, 1) or (cell.size, cell.hosts, cell.crashes) == (2, 60, 20)


def main() -> int:
    """Print the table; 0 when every line keeps what is asked of it."""
    options = argparse.ArgumentParser()
    options.add_argument("--fleets", type=int, default=200)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--processes", type=int, default=1)
    chosen = options.parse_args()
    print("cause  hosts crashes drift       first  five  same  said | tied | fisher ochiai")
    kept = True
    with Pool(chosen.processes) as pool:
        for cell in cells(quick=chosen.quick):
            got = pool.map(trial, [(cell, seed) for seed in range(chosen.fleets)])
            share = {name: sum(getattr(one, name) for one in got) / len(got)
                     for name in ("first", "five", "same", "said", "fisher", "ochiai", "tied")}  # fmt: skip
            enough = asked(cell, share)
            kept = kept and enough is not False
            mark = {True: "ok", False: "SHORT", None: ""}[enough]
            name = f"{cell.size or 'null'}{' lumpy' if cell.lumpy else ''}"
            print(f"{name:<7} {cell.hosts:>4} {cell.crashes:>7} {cell.drift:>5.0%}      "
                  f"{share['first']:5.1%} {share['five']:5.1%} {share['same']:5.1%} {share['said']:5.1%} |"
                  f" {share['tied']:4.1f} | {share['fisher']:5.1%}  {share['ochiai']:5.1%}  {mark}",
                  flush=True)  # fmt: skip
    return 0 if kept else 1


def asked(cell: Cell, share: dict[str, float]) -> bool | None:
    """Whether a line keeps what issue 8 asks; `None` where it asks nothing."""
    if cell.size == 0:
        return share["said"] <= 0.05
    if cell.lumpy:
        return None
    if cell.size == 1 and cell.crashes == 20:
        return share["first"] >= 0.95
    if cell.size == 1 and cell.crashes == 10:
        return share["five"] >= 0.98
    if cell.size == 2 and cell.crashes == 20 and cell.hosts == 60:
        return share["same"] >= 0.85
    return None


if __name__ == "__main__":
    sys.exit(main())
