"""What goes with a cluster: small fleets whose cause is known."""

from __future__ import annotations

import subprocess
import sys

from tests.unit.guarded import ROOT
from triage.insight.correlate import Attribute, Comparison, Unit, answers, compare
from triage.insight.statistics import adjusted, difference, fisher, wilson


def option(name: str, value: str = "1") -> Attribute:
    return Attribute("option", name, value)


def fleet(**having: int) -> list[Unit]:
    """Forty hosts. Each option is set on every `number`-th host; `opcache.enable` on all."""
    hosts = []
    for at in range(40):
        own = {option(name) for name, every in having.items() if at % every == 0}
        hosts.append(Unit(frozenset(own | {option("opcache.enable")}), f"host{at}"))
    return hosts


def names(found: Comparison) -> list[list[str]]:
    """The first rule of each candidate that is said."""
    return [sorted(one.text for group in said.alternatives[0] for one in group) for said in found.said]


def test_one_option_that_all_crashes_have_and_a_fifth_of_the_hosts() -> None:
    hosts = fleet(cause=5, other=2, third=3)
    crashes = [hosts[5 * (at % 8)] for at in range(24)]

    found = compare(crashes, hosts)

    assert names(found)[0] == ["cause=1"]
    first = found.said[0]
    assert (first.hits, first.cases, first.workers, first.all_workers) == (24, 24, 8, 40)
    assert first.q < 0.001
    assert first.belief > 0.5
    assert first.gap[1] > 0.5


def test_two_options_only_together() -> None:
    hosts = fleet(one=3, two=4, other=5)
    both = [host for host in hosts if {option("one"), option("two")} <= host.attributes]
    crashes = [both[at % len(both)] for at in range(20)]

    found = compare(crashes, hosts)

    assert names(found)[0] == ["one=1", "two=1"]
    assert found.said[0].size == 2


def test_attributes_that_are_always_together_are_one_line() -> None:
    hosts = [
        Unit(
            host.attributes | ({option("twin")} if option("cause") in host.attributes else set()), host.configuration
        )
        for host in fleet(cause=5, other=2)
    ]
    crashes = [hosts[5 * (at % 8)] for at in range(24)]

    found = compare(crashes, hosts)

    assert names(found)[0] == ["cause=1", "twin=1"]
    assert len(found.said[0].alternatives[0]) == 1


def test_crashes_that_fall_anywhere_accuse_nothing() -> None:
    hosts = fleet(one=2, two=3, three=5, four=7)
    crashes = [hosts[(at * 7) % 40] for at in range(40)]

    found = compare(crashes, hosts)

    assert (found.said, found.reason) == ((), "nothing stands out")


def test_one_sick_host_does_not_accuse_its_settings() -> None:
    """Thirty crashes of one host are hardly more than one: its settings are all suspect, none is singled out."""
    hosts = fleet(one=2, two=3, three=5)
    crashes = [hosts[0]] * 12 + [hosts[at] for at in (7, 11, 13, 17, 19, 23, 29, 31)]

    assert compare(crashes, hosts).said == ()


def test_what_only_goes_along_is_explained_away() -> None:
    hosts = [
        Unit(
            frozenset({option("cause"), option("along")} if at < 10 else {option("along")} if at < 14 else set()),
            f"h{at}",
        )
        for at in range(40)
    ]
    crashes = [hosts[at % 10] for at in range(30)]

    found = compare(crashes, hosts)

    assert names(found)[0] == ["cause=1"]
    assert found.explained == (frozenset({option("along")}),)


def test_below_five_crashes_only_what_they_share_is_told() -> None:
    hosts = fleet(cause=5, other=2)

    found = compare([hosts[5], hosts[15], hosts[25]], hosts)

    assert (found.reason, found.said, found.shared) == ("too few crashes", (), (option("cause"),))


def test_healthy_hosts_of_one_configuration_weigh_as_workers_but_are_one_witness() -> None:
    crowd = [Unit(frozenset({option("a")}), "same", 1) for _ in range(30)]
    others = [Unit(frozenset({option("b")}), f"other{at}", 1) for at in range(3)]
    crashes = [others[at % 3] for at in range(12)]

    first = compare(crashes, crowd + others).ranked[0]

    assert (first.workers, first.all_workers) == (3, 33)
    assert first.p == fisher(12, 12, 3, 4)


def test_fishers_p_is_exact() -> None:
    assert abs(fisher(3, 4, 1, 4) - 17 / 70) < 1e-12  # the lady tasting tea, three of four right
    assert abs(fisher(0, 5, 3, 9) - 1) < 1e-12


def test_benjamini_hochberg_keeps_the_order() -> None:
    assert [round(q, 4) for q in adjusted([0.01, 0.04, 0.03, 0.005])] == [0.02, 0.04, 0.04, 0.02]


def test_intervals_are_those_of_the_literature() -> None:
    assert tuple(round(end, 3) for end in wilson(81, 263)) == (0.255, 0.366)  # Newcombe 1998, table I
    assert tuple(round(end, 4) for end in difference(56, 70, 48, 80)) == (0.2, 0.0524, 0.3339)  # table II, (a)


def test_rules_that_the_crashes_do_not_tell_apart_are_one_answer() -> None:
    """Two settings on the same hosts but one, on which no crash fell."""
    hosts = fleet(cause=5, other=2)
    alike = [
        Unit(host.attributes | ({option("alike")} if at % 5 == 0 and at != 35 else set()), host.configuration)
        for at, host in enumerate(hosts)
    ]
    crashes = [alike[5 * (at % 7)] for at in range(8)]

    first = answers(compare(crashes, alike).ranked)[0]

    assert [[part for rule in one.alternatives for group in rule for part in group] for one in first.candidates] == [
        [option("alike")], [option("cause")],
    ]  # fmt: skip
    assert first.more == 0
    assert first.common == ()
    assert abs(first.belief - sum(one.belief for one in first.candidates)) < 1e-12


def test_what_all_tied_rules_have_is_told() -> None:
    """`one` crashes where a second setting is as well; two such settings are on the same hosts among those."""
    hosts = fleet(one=2)
    for at in (0, 8, 16, 24, 32, 5, 15):
        hosts[at] = Unit(hosts[at].attributes | {option("two")}, hosts[at].configuration)
    for at in (0, 8, 16, 24, 32, 7, 21, 27):
        hosts[at] = Unit(hosts[at].attributes | {option("three")}, hosts[at].configuration)
    crashes = [hosts[8 * (at % 5)] for at in range(20)]

    found = {one.first.size: one for one in answers(compare(crashes, hosts).ranked)}

    pair = found[2]
    assert len(pair.rules) == 3
    assert pair.candidates[0].masks.controls == sum(1 << at for at in (0, 8, 16, 24, 32))


_ORDER = """
from tests.unit.test_correlate import fleet
from triage.insight.correlate import compare
hosts = fleet(a=2, b=2, c=3)
print([one.masks for one in compare([hosts[(at * 6) % 40] for at in range(20)], hosts).ranked])
"""


def test_the_same_crashes_give_the_same_order_in_every_run() -> None:
    hosts = fleet(a=2, b=2, c=3)
    crashes = [hosts[(at * 6) % 40] for at in range(20)]

    orders = {
        subprocess.run(
            [sys.executable, "-c", _ORDER], capture_output=True, text=True, check=True, cwd=ROOT,
            env={"PYTHONHASHSEED": str(seed), "PATH": ""},
        ).stdout
        for seed in range(3)
    }  # fmt: skip

    assert orders == {f"{[one.masks for one in compare(crashes, hosts).ranked]}\n"}
