"""When crashes began and which change fits, from streams whose answer is known."""

from __future__ import annotations

from triage.insight.changes.onset import DAY, onset, stream
from triage.insight.changes.ranking import rank
from triage.model import Change


def change(day: float, kind: str = "php", what: str = "a change") -> Change:
    return Change(time=day * DAY, kind=kind, what=what, source="test")


def test_a_rate_that_steps_up_from_nothing() -> None:
    found = onset(stream([((20 + at / 2) * DAY, "h") for at in range(1, 20)], 0, 30 * DAY))

    assert found is not None
    assert found.new
    assert found.low < 20.5 * DAY < found.high + DAY / 2
    assert (found.high - found.low) / DAY < 4
    assert 1.5 < found.after < 2.5
    assert found.before == 0


def test_a_constant_rate_has_no_beginning() -> None:
    assert onset(stream([(at * DAY, "h") for at in range(1, 30)], 0, 30 * DAY)) is None


def test_a_rate_that_falls_has_no_beginning() -> None:
    assert onset(stream([(at / 4 * DAY, "h") for at in range(1, 30)], 0, 30 * DAY)) is None


def test_four_crashes_after_a_quiet_month_are_enough() -> None:
    times = [(29.1 * DAY, "a"), (29.3 * DAY, "a"), (29.6 * DAY, "b"), (29.9 * DAY, "c")]

    assert onset(stream(times, 0, 30 * DAY)) is not None
    assert onset(stream(times[:2], 0, 30 * DAY)) is None


def test_a_crash_loop_is_one_event() -> None:
    loop = stream([(29 * DAY + at, "h") for at in range(0, 300, 5)], 0, 30 * DAY)

    assert len(loop.times) == 1
    assert onset(loop) is None


def test_the_change_before_the_first_crash_is_first_and_later_ones_are_out() -> None:
    times = stream([((20 + at / 2) * DAY, "h") for at in range(1, 20)], 0, 30 * DAY)
    right, early, late = change(20.1), change(12), change(25)

    ranking = rank(times, [early, late, right])

    assert [suspect.change for suspect in ranking.suspects] == [right, early, late]
    assert ranking.suspects[0].words == "very likely"
    assert abs(sum(suspect.belief for suspect in ranking.suspects) + ranking.none - 1) < 1e-9


def test_none_of_them_is_an_answer() -> None:
    times = stream([((20 + at / 2) * DAY, "h") for at in range(1, 20)], 0, 30 * DAY)

    assert rank(times, [change(3), change(27)]).none > 0.9


def test_kinds_decide_between_changes_of_one_moment() -> None:
    times = stream([((20 + at / 2) * DAY, "h") for at in range(1, 20)], 0, 30 * DAY)
    php, other = change(20.1, "php"), change(20.1, "other")

    first, second = rank(times, [other, php]).suspects

    assert first.change is php
    assert abs(first.belief / second.belief - 10) < 1e-6


def test_three_changes_are_shown_at_most_and_none_that_nothing_speaks_for() -> None:
    times = stream([((20 + at / 2) * DAY, "h") for at in range(1, 20)], 0, 30 * DAY)

    right, early = change(20.1), change(2, "other")

    assert [one.change for one in rank(times, [early, right]).shown] == [right]
    assert len(rank(times, [change(20.1 + at / 50, what=str(at)) for at in range(5)]).shown) == 3
