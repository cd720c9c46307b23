"""`triage report`: what is new, for cron."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import click

from triage import clock
from triage.cli.common import Chosen, options, program
from triage.errors import UsageError
from triage.report.files import PRIVATE, PUBLIC, replace_file
from triage.report.mail import send
from triage.report.news import News, gather
from triage.report.news_html import html_lines
from triage.report.news_json import news_to_json
from triage.report.news_markdown import markdown_lines
from triage.report.news_prom import prom_lines
from triage.report.news_text import headline, heartbeat_lines, news_lines
from triage.store import Reported, Store

EXIT_NEWS = 10
_FORMATS = ("text", "md", "html", "json", "prom")
_SPAN = re.compile(r"(\d+)\s*([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}
_USUAL = timedelta(days=1)
_LOCK = "report"
_SHIPPED = ("timer", "service", "cron")


@click.command()
@click.option("--since", metavar="TIME", help="'24h', '7d', 2026-11-20 or 'last': since this report last told. "
              "Default: last with --new-only or --sendmail, else 24h.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(_FORMATS), default="text", help="text, md, html, json or prom.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
              help="Write to this file, whole or not at all, instead of printing.")  # fmt: skip
@click.option("--new-only", is_flag=True, help="Print nothing when nothing is new. Each thing is told once.")
@click.option("--exit-code", is_flag=True, help=f"Exit status {EXIT_NEWS} when something is new.")
@click.option("--sendmail", multiple=True, metavar="ADDRESS", help="Mail it, when something is new. May be repeated.")
@click.option("--sendmail-program", metavar="PROGRAM", help="Instead of /usr/sbin/sendmail.")
@click.option("--heartbeat", type=int, metavar="DAYS",
              help="Say something after this many silent days all the same.")  # fmt: skip
@click.option("--name", default="default", metavar="NAME", help="Keeps what was told to different readers apart.")
@click.option("--show", type=click.Choice(_SHIPPED), help="Print the systemd timer, its service, or a crontab line.")
@options
def command(
    since: str | None, form: str, output: Path | None, sendmail: tuple[str, ...],
    new_only: bool, exit_code: bool,  # noqa: FBT001
    sendmail_program: str | None, heartbeat: int | None, name: str, show: str | None, chosen: Chosen,
) -> None:  # fmt: skip
    """Tell what is new: kinds of crash not seen before, back after their fix, or far more frequent.

    \b
    triage report                                  the last 24 hours
    triage report --new-only                       for cron: silent when nothing is new
    triage report --new-only --sendmail ops@shop.example --heartbeat 7
    triage report --format prom -o /var/lib/prometheus/node-exporter/triage.prom
    """
    if show:
        print(files("triage.report").joinpath("cron", f"triage.{show}").read_text(), end="")
        return
    form = "json" if chosen.json else form
    follows = since == "last" or (since is None and (new_only or bool(sendmail)))
    with chosen.open_store() as store, ExitStack() as held:
        if follows:
            held.enter_context(store.lock(f"{_LOCK}-{name}"))
        until = store.moment() if follows else clock.now()
        last = store.last_report(name) if follows else None
        begin = (last.covered if last else None) if follows else _begin(since, until)
        news = gather(store, begin, until)
        beats = _beats(last, heartbeat, until) and not news.any
        if news.any or beats or not new_only:
            text = _rendered(news, form, store, heartbeat if beats else None)
            _deliver(text, news, store, form, output, sendmail, sendmail_program, beats=beats, chosen=chosen)
        elif form == "prom" and output is not None:  # a gauge that stays as it was would lie
            replace_file(output, _rendered(news, form, store, None), PUBLIC)
        if follows:
            spoke = until if news.any or beats or last is None else last.spoke
            store.reported(name, Reported(until, spoke))
    if exit_code and news.any:
        raise click.exceptions.Exit(EXIT_NEWS)


def _begin(since: str | None, until: datetime) -> datetime:
    """The time a span or a date means.

    Raises:
        UsageError: when it means none.
    """
    if since is None:
        return until - _USUAL
    span = _SPAN.fullmatch(since.strip())
    try:
        if span:
            return until - timedelta(hours=int(span[1]) * _HOURS[span[2]])
        moment = datetime.fromisoformat(since)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--since {since!r} is no time", help="Write 24h, 7d, 2w, 2026-11-20, 2026-11-20T06:00 or last."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _beats(last: Reported | None, days: int | None, until: datetime) -> bool:
    """Whether it has been silent so long that a sign of life is due."""
    return days is not None and last is not None and last.spoke is not None and until - last.spoke >= timedelta(
        days=days
    )  # fmt: skip


def _rendered(news: News, form: str, store: Store, heartbeat: int | None) -> str:
    if form == "json":
        return json.dumps(news_to_json(news)) + "\n"
    if form == "prom":
        lines = list(prom_lines(news, store.clusters()))
    elif form == "html":
        lines = list(html_lines(news, program()))
    elif heartbeat is not None:
        lines = heartbeat_lines(news, heartbeat)
    elif form == "md":
        lines = list(markdown_lines(news, program()))
    else:
        lines = news_lines(news, program())
    return "\n".join(lines) + "\n"


def _deliver(
    text: str, news: News, store: Store, form: str, output: Path | None, sendmail: tuple[str, ...],
    sendmail_program: str | None, *, beats: bool, chosen: Chosen,
) -> None:  # fmt: skip
    if sendmail and (news.any or beats):
        subject = f"[triage] {', '.join(news.hosts[:2]) or 'crashes'}: {headline(news)}"
        plain = text if form in ("text", "md") else "\n".join(news_lines(news, program())) + "\n"
        send(sendmail, subject, plain, "\n".join(html_lines(news, program())), sendmail_program)
    if output is not None:
        replace_file(output, text, PUBLIC if form == "prom" else PRIVATE)
    elif not sendmail:
        print(text, end="", flush=True)
