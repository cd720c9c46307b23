"""The cron report: what is news and what is not, told once, in five forms."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.store.samples import crash, failed, triaged
from triage import clock
from triage.cli.main import triage
from triage.model import Decision, State
from triage.states import spikes
from triage.store import Store, open_store

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOSTILE = 'x\x1b[31m<script>alert(1)</script> [a](javascript:b) `` @team ![i](http://e/i) "q"'


class Machine:
    """A store and a clock that is set by hand."""

    def __init__(self, url: str, set_clock: Callable[[datetime], None]) -> None:
        self.url = url
        self.set = set_clock
        self._made = 0

    @contextmanager
    def store(self) -> Iterator[Store]:
        with open_store(self.url) as store:
            yield store

    def crash(
        self, key: str, at: datetime, *, read: datetime | None = None, title: str = "f ◂ g", **more: str
    ) -> str:
        """One crash that happened at a time and was read then, or later."""
        self._made += 1
        id_ = f"{self._made:08x}"
        self.set(read or at)
        with self.store() as store:
            store.save(triaged(crash(id_, key=f"v1:{key}", title=title, time=at, **more)), None)  # type: ignore[arg-type]
        return id_

    def cluster(self, key: str) -> str:
        with self.store() as store:
            return next(cluster.id for cluster in store.clusters() if cluster.signature == f"v1:{key}")

    def report(self, *arguments: str, at: datetime = NOW) -> Result:
        self.set(at)
        return CliRunner().invoke(triage, ["report", "--store", self.url, *arguments], catch_exceptions=False)

    def news(self, *arguments: str, at: datetime = NOW) -> dict[str, list[str]]:
        """Cluster signatures by kind."""
        text = self.report("--json", *arguments, at=at).stdout
        found = json.loads(text) if text else {}
        kinds = ("new", "regressed", "spiking", "awake")
        assert isinstance(found, dict)
        return {
            kind: [item["cluster"]["signature"].removeprefix("v1:") for item in found[kind]]
            for kind in kinds if found.get(kind)
        }  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    at = [NOW]
    monkeypatch.setattr(clock, "now", lambda: at[0])
    return Machine(f"sqlite:///{tmp_path}/triage.db", lambda moment: at.__setitem__(0, moment))


def test_each_thing_is_told_once_and_silence_is_silent(machine: Machine) -> None:
    machine.crash("a", NOW - 2 * DAY)
    first = machine.report("--new-only", "--exit-code", at=NOW - DAY)
    assert (first.exit_code, first.stdout.splitlines()[0]) == (10, "triage: 1 new")
    machine.crash("a", NOW - timedelta(hours=20))
    again = machine.report("--new-only", "--exit-code")
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "")


def test_readers_are_kept_apart_and_a_look_takes_nothing_away(machine: Machine) -> None:
    machine.crash("a", NOW - timedelta(hours=1))
    assert machine.report().stdout == machine.report().stdout != ""
    assert machine.report("--new-only", "--name", "ops").stdout
    assert machine.report("--new-only", "--name", "dev").stdout
    assert machine.report("--new-only", "--name", "ops").stdout == ""


def test_missed_slots_are_caught_up(machine: Machine) -> None:
    """A host that was off for days tells everything at the next run."""
    machine.crash("a", NOW - 9 * DAY)
    machine.report("--new-only", at=NOW - 8 * DAY)
    machine.crash("b", NOW - 6 * DAY)
    machine.crash("c", NOW - 2 * DAY)
    assert machine.news("--new-only") == {"new": ["b", "c"]}


def test_a_clock_set_back_loses_nothing_and_tells_nothing_twice(machine: Machine) -> None:
    machine.crash("a", NOW)
    assert machine.news("--new-only", at=NOW) == {"new": ["a"]}
    back = NOW - 3 * DAY  # somebody corrects the clock: crashes come in "before" what was told last
    machine.crash("b", back)
    machine.crash("c", back + timedelta(hours=1))
    assert machine.news("--new-only", at=back + timedelta(hours=2)) == {"new": ["b", "c"]}
    assert machine.news("--new-only", at=back + timedelta(hours=3)) == {}
    machine.crash("d", back + timedelta(hours=4))
    assert machine.news("--new-only", at=back + timedelta(hours=5)) == {"new": ["d"]}
    machine.crash("e", NOW + DAY)  # and time has caught up
    assert machine.news("--new-only", at=NOW + 2 * DAY) == {"new": ["e"]}


def test_a_regression_is_a_crash_after_the_fix_on_that_host(machine: Machine) -> None:
    for days in (9, 8):
        machine.crash("a", NOW - days * DAY, host="web1")
    with machine.store() as store:
        fixed = Decision(state=State.FIXED, at=NOW - 3 * DAY, since=NOW - 3 * DAY)
        store.mark(machine.cluster("a"), fixed)
    machine.report("--new-only", at=NOW - 3 * DAY)
    machine.crash("a", NOW - 5 * DAY, read=NOW - 2 * DAY)  # an old core, imported late
    assert machine.news("--new-only", at=NOW - 2 * DAY) == {}
    machine.crash("a", NOW - timedelta(hours=3), host="web1")
    assert machine.news("--new-only") == {"regressed": ["a"]}
    assert machine.news("--new-only") == {}
    lines = machine.report("--since", "7d").stdout.splitlines()
    assert lines[0] == "triage: 1 back after the fix"


def test_old_cores_imported_late_are_no_spike(machine: Machine) -> None:
    for days in range(20, 1, -1):
        machine.crash("a", NOW - days * DAY)
    machine.report("--new-only", at=NOW - DAY)
    for days in range(20, 2, -1):
        machine.crash("a", NOW - days * DAY, read=NOW - timedelta(hours=2))
    assert machine.news("--new-only") == {}


def test_many_more_than_usual_are_news(machine: Machine) -> None:
    for days in range(27, 1, -1):
        machine.crash("a", NOW - days * DAY)
    machine.report("--new-only", at=NOW - DAY)
    for minutes in range(12):
        machine.crash("a", NOW - timedelta(minutes=minutes + 1))
    found = json.loads(machine.report("--json", "--since", "24h").stdout)
    assert [item["why"] for item in found["spiking"]] == ["12 times, where about 1.0 would have been usual"]
    assert machine.news("--new-only") == {"spiking": ["a"]}


@pytest.mark.parametrize(
    ("count", "usual", "expected"),
    [(4, 0.0, False), (5, 0.0, True), (5, 1.0, False), (7, 1.0, True), (29, 10.0, False), (30, 10.0, True)],
)
def test_what_counts_as_a_spike(count: int, usual: float, expected: bool) -> None:
    assert spikes(count, usual) is expected


def test_ignored_and_fixed_clusters_are_no_news(machine: Machine) -> None:
    machine.crash("a", NOW - 5 * DAY)
    with machine.store() as store:
        store.mark(machine.cluster("a"), Decision(state=State.IGNORED, at=NOW - 4 * DAY, until="2027-01-01"))
    machine.report("--new-only", at=NOW - 3 * DAY)
    for hours in range(10):
        machine.crash("a", NOW - timedelta(hours=hours + 1))
    assert machine.news("--new-only") == {}


def test_what_could_not_be_read_is_told_once(machine: Machine) -> None:
    machine.set(NOW - timedelta(hours=1))
    with machine.store() as store:
        for _ in range(2):  # every batch tries again
            store.save(failed("/var/cores/core.1", "truncated", "cut off"), None)
    first = machine.report("--new-only")
    assert first.stdout.splitlines()[0] == "triage: 1 core not readable"
    assert "NOT READ  /var/cores/core.1: cut off" in first.stdout
    with machine.store() as store:
        store.save(failed("/var/cores/core.1", "truncated", "cut off"), None)
    assert machine.report("--new-only", at=NOW + DAY).stdout == ""


def test_twenty_five_lines_at_the_most_whatever_happened(machine: Machine) -> None:
    for number in range(60):
        title = f"function_{number}_with_a_long_name ◂ " * 8
        machine.crash(f"k{number}", NOW - timedelta(hours=2), title=title, host=f"web{number}.example.org")
    with machine.store() as store:
        for number in range(40):
            store.save(failed(f"/very/long/{'path/' * 30}core.{number}", "truncated", "cut off " * 40), None)
    lines = machine.report().stdout.splitlines()
    assert len(lines) <= 25
    assert max(len(line) for line in lines if "apt" not in line) <= 80
    assert lines[0] == "triage: 60 new, 40 cores not readable"
    assert lines[-1].startswith("  Everything about it: ")
    assert any("and 56 more" in line for line in lines)


def test_the_whole_text(machine: Machine) -> None:
    for days in range(13, 0, -1):
        machine.crash("old", NOW - days * DAY, title="zend_hash_find ◂ Shop\\Cart::total")
    machine.report("--new-only", at=NOW - DAY)
    for hours in (1, 2, 3):
        machine.crash("new", NOW - timedelta(hours=hours), title="redis_sock_read ◂ Session::read", host="web-2")
    machine.crash("old", NOW - timedelta(hours=4), title="zend_hash_find ◂ Shop\\Cart::total")
    text = machine.report("--new-only").stdout
    assert text.split("\nDo first")[0] == (
        "triage: 1 new\n"
        "2026-11-23 06:00 to 2026-11-24 06:00 UTC · web-1, web-2 · 4 crashes (1 in\n"
        "  as long a time before), 1 known kind as before\n"
        "\n"
        f"NEW   {machine.cluster('new')}   3×  redis_sock_read ◂ Session::read\n"  # noqa: RUF001
        "      php 8.2.7 · since 2026-11-24 03:00 ·              █\n"
    )
    assert f"Do first, for {machine.cluster('new')}:" in text


def test_the_heartbeat_speaks_after_a_week_of_silence(machine: Machine) -> None:
    machine.crash("a", NOW - 9 * DAY)
    assert machine.report("--new-only", "--heartbeat", "7", at=NOW - 8 * DAY).stdout
    assert machine.report("--new-only", "--heartbeat", "7", at=NOW - 4 * DAY).stdout == ""
    beat = machine.report("--new-only", "--heartbeat", "7", "--exit-code")
    assert (beat.exit_code, beat.stdout.splitlines()[0]) == (0, "triage: nothing new for 7 days, and still watching")
    assert "the last core came in 2026-11-15T06:00:00Z" in beat.stdout
    assert machine.report("--new-only", "--heartbeat", "7", at=NOW + DAY).stdout == ""


def test_a_second_run_at_the_same_time_leaves(machine: Machine) -> None:
    machine.crash("a", NOW - timedelta(hours=1))
    with machine.store() as store, store.lock("report-default"), store.lock():
        result = CliRunner().invoke(triage, ["report", "--store", machine.url, "--new-only"])
        assert result.exit_code != 0
        assert getattr(result.exception, "exit_status", None) == 75
        assert machine.report().exit_code == 0  # a look waits for nobody
    assert machine.report("--new-only").stdout  # and nothing was lost


@pytest.mark.parametrize("since", ["yesterday", "5 fortnights", "99999999d", "2026-13-01"])
def test_a_time_that_is_none(machine: Machine, since: str) -> None:
    result = CliRunner().invoke(triage, ["report", "--store", machine.url, "--since", since])
    assert getattr(result.exception, "exit_status", None) == 2


class _Page(HTMLParser):
    """Tags, and what would be fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.foreign += [value or "" for name, value in attrs if name in ("src", "href", "onclick", "onload")]


def test_html_stands_alone_and_shows_trend_and_changes(machine: Machine, tmp_path: Path) -> None:
    for days in range(20, 0, -1):
        machine.crash("a", NOW - days * DAY, title=HOSTILE, version="8.2.7" if days > 6 else "8.2.8")
    with machine.store() as store:
        store.mark(machine.cluster("a"), Decision(state=State.FIXED, at=NOW - 3 * DAY, fixed_in="8.2.9"))
    target = tmp_path / "report.html"
    machine.report("--since", "30d", "--format", "html", "-o", str(target))
    text = target.read_text()
    page = _Page()
    page.feed(text)
    assert page.foreign == []
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert page.tags.count("rect") >= 20
    assert "first crash of php 8.2.8" in text
    assert "fixed in 8.2.9" in text
    assert "\x1b" not in text
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_markdown_holds_no_markup_of_a_core(machine: Machine) -> None:
    machine.crash("a", NOW - timedelta(hours=1), title=HOSTILE, host="web`1")
    text = machine.report("--format", "md").stdout
    outside = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text)
    assert "# Crashes: 1 new" in text
    assert not re.search(r"<script|javascript:|@team|!\[", outside)


def test_metrics_are_whole_lines_and_replaced_atomically(machine: Machine, tmp_path: Path) -> None:
    machine.crash("a", NOW - timedelta(hours=1), title='say "hi" \\ to\nme')
    target = tmp_path / "triage.prom"
    target.write_text("old\n")
    with target.open() as held:  # a reader that opened the old file keeps it whole
        machine.report("--new-only", "--format", "prom", "-o", str(target))
        assert held.read() == "old\n"
    lines = target.read_text().splitlines()
    sample = re.compile(r'[a-z_]+(\{[a-z_]+="(\\.|[^"\\])*"(,[a-z_]+="(\\.|[^"\\])*")*\})? -?\d+$')
    assert [line for line in lines if not line.startswith("# ") and not sample.fullmatch(line)] == []
    assert 'triage_clusters{state="new"} 1' in lines
    assert 'triage_news{kind="new"} 1' in lines
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    machine.report("--new-only", "--format", "prom", "-o", str(target), at=NOW + DAY)
    assert 'triage_news{kind="new"} 0' in target.read_text().splitlines()  # no gauge stays as it was
    assert [path.name for path in tmp_path.glob(".triage.prom*")] == []


def _sendmail(tmp_path: Path, status: int = 0) -> tuple[Path, Path]:
    program, mail = tmp_path / "sendmail", tmp_path / "mail"
    program.write_text(f'#!/bin/sh\necho "$@" >> {mail}.argv\ncat >> {mail}\nexit {status}\n')
    program.chmod(0o755)
    return program, mail


def test_mail_goes_out_once_in_both_forms(machine: Machine, tmp_path: Path) -> None:
    program, mail = _sendmail(tmp_path)
    machine.crash("a", NOW - timedelta(hours=1))
    arguments = ("--sendmail", "ops@shop.example", "--sendmail", "dev@shop.example")
    result = machine.report(*arguments, "--sendmail-program", str(program))
    assert (result.exit_code, result.stdout) == (0, "")
    message = message_from_bytes(mail.read_bytes(), _class=EmailMessage, policy=default)
    assert message["To"] == "ops@shop.example, dev@shop.example"
    assert message["Subject"] == "[triage] web-1: 1 new"
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "text/html"]
    assert (tmp_path / "mail.argv").read_text() == "-t -i\n"
    machine.report(*arguments, "--sendmail-program", str(program))
    assert (tmp_path / "mail.argv").read_text() == "-t -i\n"


def test_what_could_not_be_mailed_is_told_again(machine: Machine, tmp_path: Path) -> None:
    program, mail = _sendmail(tmp_path, status=75)
    machine.crash("a", NOW - timedelta(hours=1))
    command = ["report", "--store", machine.url, "--sendmail", "ops", "--sendmail-program", str(program)]
    result = CliRunner().invoke(triage, command)
    assert getattr(result.exception, "exit_status", None) == 3
    program.write_text(program.read_text().replace("exit 75", "exit 0"))
    mail.unlink()
    assert CliRunner().invoke(triage, command).exit_code == 0
    assert b"1 new" in mail.read_bytes()


@pytest.mark.parametrize("what", ["timer", "service", "cron"])
def test_what_is_shipped_names_options_that_exist(what: str) -> None:
    text = CliRunner().invoke(triage, ["report", "--show", what], catch_exceptions=False).stdout
    help_ = {verb: CliRunner().invoke(triage, [verb, "--help"]).stdout for verb in ("report", "batch")}
    for verb, line in re.findall(r"bin/triage (report|batch)([^;>\n]*)", text):
        for option in re.findall(r" (-[-\w]+)", line):
            assert re.search(rf"(^|\s|,){option}\b", help_[verb]), (verb, option)


@pytest.mark.skipif(not Path("/usr/bin/systemd-analyze").exists(), reason="no systemd-analyze here")
def test_the_timer_is_understood_by_systemd(tmp_path: Path) -> None:
    import subprocess

    for what in ("timer", "service"):
        text = CliRunner().invoke(triage, ["report", "--show", what], catch_exceptions=False).stdout
        (tmp_path / f"triage.{what}").write_text(text.replace("/usr/local/bin/triage", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "triage.timer"), str(tmp_path / "triage.service")],
        capture_output=True, text=True, check=False, env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "triage." in line]
    assert complaints == []
