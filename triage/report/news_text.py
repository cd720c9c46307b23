"""The report as text for a mail at six in the morning: at most 25 lines of at most 80 characters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from triage import clock
from triage.report.lines import WIDTH, wrapped
from triage.report.news import Item, Kind, News
from triage.text import clean, plural

LINES = 25
TIMES = "\N{MULTIPLICATION SIGN}"
_SHOWN = 4
_BARS = "▁▂▃▄▅▆▇█"
_WORDS = {Kind.NEW: "NEW", Kind.REGRESSED: "BACK", Kind.SPIKING: "MORE", Kind.AWAKE: "AWAKE"}


def headline(news: News) -> str:
    """One line: what there is, in numbers. Also the subject of a mail."""
    parts = [
        (Kind.REGRESSED, "{} back after the fix"),
        (Kind.NEW, "{} new"),
        (Kind.SPIKING, "{} more often than usual"),
        (Kind.AWAKE, "{} no longer to be ignored"),
    ]
    said = [words.format(len(news.of(kind))) for kind, words in parts if news.of(kind)]
    if news.unread:
        said.append(f"{plural(len(news.unread), 'core')} not readable")
    return ", ".join(said) if said else "nothing new"


def news_lines(news: News, program: str) -> list[str]:
    """The whole report."""
    lines = [f"triage: {headline(news)}", *_wrapped(_scope(news))]
    shown = news.items[:_SHOWN]
    for item in shown:
        lines += ["", *_item(item)] if item is shown[0] else _item(item)
    if len(news.items) > _SHOWN:
        lines.append(f"  and {len(news.items) - _SHOWN} more: {program} clusters 'is:open'")
    if news.unread:
        lines += ["", *_unread(news)]
    if news.first is not None:
        lines += ["", *_first(news, program, LINES - len(lines) - 1)]
    return lines[:LINES]


def heartbeat_lines(news: News, days: int) -> list[str]:
    """What is said when nothing was for days: that somebody is looking."""
    newest = f"the last core came in {clock.iso(news.newest)}" if news.newest else "no core has come in yet"
    return [
        f"triage: nothing new for {plural(days, 'day')}, and still watching",
        f"  {newest}; {plural(news.crashes, 'crash')} of kinds known before since the last word",
        f"  last {len(news.daily)} days: {sparkline(news.daily)}",
    ]


def sparkline(values: tuple[int, ...]) -> str:
    """One bar a value; a space for none."""
    top = max(values, default=0)
    return "".join(_BARS[max(0, -(-value * len(_BARS) // top) - 1)] if value else " " for value in values).rstrip()


def _scope(news: News) -> str:
    span = f"{_stamp(news.since)} to {_stamp(news.until)} UTC" if news.since else f"until {_stamp(news.until)} UTC"
    hosts = ", ".join(news.hosts[:3]) + (f" and {len(news.hosts) - 3} more hosts" if len(news.hosts) > 3 else "")
    count = plural(news.crashes, "crash")
    compared = f" ({news.before} in as long a time before)" if news.since is not None else ""
    known = f", {plural(news.others, 'known kind')} as before" if news.others else ""
    return " · ".join(part for part in (span, hosts, f"{count}{compared}{known}") if part)


def _stamp(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment is not None else "the beginning"


def _item(item: Item) -> list[str]:
    cluster = item.cluster
    head = f"{_WORDS[item.kind]:<6}{cluster.id:<11}{item.count}{TIMES}"
    trend = sparkline(item.daily[-14:])
    since = f"since {_stamp(cluster.first_seen)}" if item.kind is Kind.NEW and cluster.first_seen else ""
    detail = " · ".join(part for part in (", ".join(cluster.versions[:2]), since, trend.strip() and trend) if part)
    lines = [f"{head}  {clean(cluster.title, limit=max(20, WIDTH - len(head)))}", f"      {_cut(detail, WIDTH - 4)}"]
    why = [] if item.kind is Kind.NEW else _wrapped(item.why, indent="      ")[:2]
    return [*lines, *why]


def _cut(text: str, limit: int) -> str:
    return clean(text, limit=limit)


def _unread(news: News) -> Iterator[str]:
    first = news.unread[0]
    why = first.failure.message if first.failure else "no reason is known"
    more = f" and {len(news.unread) - 1} more" if len(news.unread) > 1 else ""
    yield from _wrapped(f"NOT READ  {clean(first.core, limit=60)}{more}: {clean(why, limit=110)}")


def _first(news: News, program: str, room: int) -> Iterator[str]:
    if news.first is None or room < 3:
        return
    yield f"Do first, for {news.first.cluster}:"
    said = _wrapped(news.first.statement.text, indent="  ")[:4]
    commands = [f"    {clean(command)}" for command in news.first.statement.commands[:3]]
    last = f"  Everything about it: {program} explain {news.first.cluster}"
    yield from [*said, *commands][: room - 2]
    yield last


def _wrapped(text: str, indent: str = "") -> list[str]:
    return [indent + line.text.removeprefix("  ") for line in wrapped(text)]
