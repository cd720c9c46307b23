"""The ground: text, clock, settings, errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from triage import clock
from triage.config import Limits, data_folder, store_url
from triage.errors import Busy, EnvironmentLacks, InputError, TriageError, UsageError
from triage.text import clean, from_bytes, plural, size


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain text, ünïcödé, 日本語, 🐘", "plain text, ünïcödé, 日本語, 🐘"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\0b\x7fc\x9bd", "a\\x00b\\x7fc\\x9bd"),
        ("line\r\nnext\ttab", "line\\x0d\\x0anext\\x09tab"),
        ("user\u202egnp.exe\u202c", "user\\u202egnp.exe\\u202c"),
        ("\u2066x\u2069\u200b\ufeff", "\\u2066x\\u2069\\u200b\\ufeff"),
        ("lone \ud800 surrogate", "lone \\ud800 surrogate"),
        ("separator \u2028 no-break \xa0", "separator \\u2028 no-break \\xa0"),
        ("tag \U000e0041 private \U000f0000", "tag \\U000e0041 private \\U000f0000"),
        (b"bytes \xff\xfe caf\xc3\xa9", "bytes \\xff\\xfe café"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        ("", ""),
        (b"", ""),
    ],
)
def test_clean_makes_every_unprintable_character_visible(raw: str | bytes, shown: str) -> None:
    assert clean(raw) == shown


def test_clean_leaves_nothing_that_moves_the_cursor_or_the_reading_direction() -> None:
    every = "".join(map(chr, range(0x11000)))
    for keep, allowed in ((False, set()), (True, {"\n", "\t"})):
        shown = clean(every, keep_newlines=keep)
        assert {char for char in shown if not char.isprintable()} == allowed
        shown.encode("utf-8")  # no lone surrogate is left that would fail on the way out


def test_clean_keeps_newlines_and_tabs_but_never_carriage_returns() -> None:
    assert clean("a\n\tb\r\x0b\x0c\x85", keep_newlines=True) == "a\n\tb\\x0d\\x0b\\x0c\\x85"


@pytest.mark.parametrize(
    ("raw", "limit", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("", 0, ""),
        ("\x1b" * 3, 6, "\\x1b\\…"),
        ("\x1b", 4, "\\x1b"),
        ("x" * 1_000_000, 5, "xxxx…"),
        (b"\xff" * 1_000_000, 5, "\\xff…"),
    ],
)
def test_clean_counts_the_limit_in_shown_characters(raw: str | bytes, limit: int, shown: str) -> None:
    assert clean(raw, limit=limit) == shown


def test_clean_never_exceeds_its_limit() -> None:
    for limit in range(12):
        for length in range(30):
            shown = clean("é\x1b"[: length % 3] * length, limit=limit)
            assert len(shown) <= limit


def test_from_bytes_keeps_control_characters_as_data() -> None:
    assert from_bytes(b"a\x1b\n\xff") == "a\x1b\n\\xff"


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (7_123_456, "7.1 MB"),
        (999_900_000, "999.9 MB"),
        (10 * 2**30, "10.7 GB"),
        (5_000_000_000_000, "5000.0 GB"),
    ],
)
def test_size(count: int, shown: str) -> None:
    assert size(count) == shown


def test_size_never_shows_a_thousand_of_a_smaller_unit() -> None:
    assert [size(999_999), size(999_999_999)] == ["1.0 MB", "1.0 GB"]


def test_plural() -> None:
    words = [plural(count, noun) for noun in ("core", "crash", "class", "box") for count in (0, 1, 2)]
    assert words == [
        *("0 cores", "1 core", "2 cores"),
        *("0 crashes", "1 crash", "2 crashes"),
        *("0 classes", "1 class", "2 classes"),
        *("0 boxes", "1 box", "2 boxes"),
    ]


NOON = datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-3600, "now"),
        (0, "now"),
        (59.9, "now"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h"),
        (86399, "23h"),
        (86400, "1d"),
        (86400 * 400, "400d"),
    ],
)
def test_ago(seconds: float, shown: str) -> None:
    assert clock.ago(NOON - timedelta(seconds=seconds), at=NOON) == shown


def test_ago_compares_moments_of_different_zones() -> None:
    berlin = timezone(timedelta(hours=1))
    assert clock.ago(datetime(2026, 3, 1, 12, 0, tzinfo=berlin), at=NOON) == "1h"


def test_ago_without_a_reference_asks_the_clock() -> None:
    assert clock.ago(clock.now() - timedelta(hours=2, seconds=5)) == "2h"


def test_iso_is_utc_with_whole_seconds() -> None:
    new_york = timezone(timedelta(hours=-5))
    assert clock.iso(NOON) == "2026-03-01T12:00:00Z"
    assert clock.iso(datetime(2026, 12, 31, 23, 30, tzinfo=new_york)) == "2027-01-01T04:30:00Z"
    assert clock.iso(clock.from_epoch(0)) == "1970-01-01T00:00:00Z"


def _broken() -> None:
    raise ValueError("broken stage")


def test_stopwatch_adds_up_laps_and_survives_errors() -> None:
    ticks = iter([0.0, 1.5, 10.0, 10.25, 20.0, 21.0])
    watch = clock.Stopwatch(read=lambda: next(ticks))
    assert watch.lap("notes", lambda: "read") == "read"
    assert watch.lap("gdb", lambda: "asked") == "asked"
    with pytest.raises(ValueError, match="broken stage"):
        watch.lap("notes", _broken)
    assert watch.laps == {"notes": 2.5, "gdb": 0.25}


def test_deadline_counts_down_and_stops_at_zero() -> None:
    left = clock.deadline(1000)
    first = left()
    assert 999 < first <= 1000
    assert left() <= first
    assert clock.deadline(-5)() == 0.0


def test_store_url_chosen_over_environment_over_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("TRIAGE_STORE", raising=False)
    assert store_url(None) == f"sqlite:///{tmp_path}/triage/triage.db"
    monkeypatch.setenv("TRIAGE_STORE", "postgresql://u@h/env")
    assert store_url(None) == "postgresql://u@h/env"
    assert store_url("postgresql://u@h/chosen") == "postgresql://u@h/chosen"
    assert not (tmp_path / "triage").exists()  # asking for a URL creates nothing


def test_store_url_takes_a_bare_path_as_sqlite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_url("crashes.db") == f"sqlite:///{tmp_path}/crashes.db"
    assert store_url("/var/lib/a b?c.db") == "sqlite:////var/lib/a b?c.db"
    assert store_url("sqlite:////x.db") == "sqlite:////x.db"


def test_data_folder_without_xdg_is_below_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert data_folder() == Path("/home/somebody/.local/share/triage")


@pytest.mark.parametrize("url", ["mysql://root:hunter2@db/x", "http://x", "sqlite+aiosqlite:///x", "redis://:pw@h"])
def test_store_url_refuses_other_schemes_without_repeating_secrets(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        store_url(url)
    assert caught.value.message == f"no store speaks {url.split(':')[0]!r}"
    assert caught.value.help == "Use --store PATH, sqlite:///PATH or postgresql://…"


def test_store_url_refuses_a_misspelt_postgresql() -> None:
    with pytest.raises(UsageError):
        store_url("postgresqlx://u@h/db")


def test_limits_keep_both_ends_of_a_deep_stack() -> None:
    limits = Limits()
    assert 0 < limits.outer_frames <= limits.inner_frames < limits.walk_frames


def test_exit_statuses_are_those_of_the_contract() -> None:
    errors: list[TriageError] = [
        UsageError("wrong"),
        EnvironmentLacks("no gdb", help="apt install gdb"),
        Busy("locked"),
        InputError("empty", "the file is empty", help="disk full"),
        TriageError("other"),
    ]
    assert [(error.exit_status, error.message, error.help) for error in errors] == [
        (2, "wrong", None),
        (3, "no gdb", "apt install gdb"),
        (75, "locked", None),
        (1, "the file is empty", "disk full"),
        (1, "other", None),
    ]
    last_input = errors[3]
    assert isinstance(last_input, InputError)
    assert (last_input.code, str(last_input)) == ("empty", "the file is empty")
