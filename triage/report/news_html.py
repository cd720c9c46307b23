"""The report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from html import escape

from triage import clock
from triage.report.news import Item, Kind, Mark, News
from triage.report.news_text import TIMES, headline
from triage.states.spike import DAYS
from triage.text import clean, plural

_HEADS = {
    Kind.REGRESSED: "Back after the fix",
    Kind.NEW: "New",
    Kind.SPIKING: "More often than usual",
    Kind.AWAKE: "No longer to be ignored",
}
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}code,pre{font:13px/1.4 ui-monospace,monospace}
pre{background:#f4f4f4;padding:.6em;overflow:auto}.dim{color:#666}table{border-collapse:collapse;width:100%}
td{padding:.35em .8em .35em 0;vertical-align:top;border-top:1px solid #ddd}td.n{text-align:right;white-space:nowrap}
svg{display:block}.bar{fill:#36699c}.mark{stroke:#c0392b;stroke-width:1.5}.axis{stroke:#bbb}
svg text{font:10px sans-serif;fill:#666}
.regressed td:first-child{border-left:4px solid #c0392b;padding-left:.5em}
.new td:first-child{border-left:4px solid #d68910;padding-left:.5em}
.spiking td:first-child{border-left:4px solid #8e44ad;padding-left:.5em}
.awake td:first-child{border-left:4px solid #666;padding-left:.5em}
@media(prefers-color-scheme:dark){body{background:#1b1b1b;color:#ddd}pre{background:#2a2a2a}td{border-color:#444}.bar{fill:#7fb2e5}}
"""
_MOST = 100
_WIDTH, _HEIGHT = 8, 60


def html_lines(news: News, program: str) -> Iterator[str]:
    """The page, line by line. Every text goes through `_text`."""
    yield '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>Crashes: {_text(headline(news))}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>Crashes: {_text(headline(news))}</h1>"
    span = f"{clock.iso(news.since)} to {clock.iso(news.until)}" if news.since else f"until {clock.iso(news.until)}"
    yield f'<p class="dim">{span} · {plural(news.crashes, "crash")} · {_text(", ".join(news.hosts))}</p>'
    yield chart(news.daily, news.marks, news)
    for kind, head in _HEADS.items():
        if news.of(kind):
            yield f"<h2>{head}</h2><table>"
            for item in news.of(kind)[:_MOST]:
                yield _row(item, news)
            yield "</table>"
    if news.unread:
        yield "<h2>Could not be read</h2><table>"
        for outcome in news.unread[:_MOST]:
            why = outcome.failure.message if outcome.failure else ""
            yield f"<tr><td><code>{_text(outcome.core)}</code></td><td>{_text(why)}</td></tr>"
        yield "</table>"
    if news.first is not None:
        said = news.first.statement
        yield f"<h2>Do first, for <code>{_text(news.first.cluster)}</code></h2><p>{_text(said.text)}</p>"
        if said.commands:
            yield "<pre>" + "\n".join(_text(command) for command in said.commands) + "</pre>"
        yield f"<p>Everything about it: <code>{_text(program)} explain {_text(news.first.cluster)}</code></p>"
    if not news.any:
        yield "<p>Nothing new.</p>"
    yield "</body></html>"


def _row(item: Item, news: News) -> str:
    cluster = item.cluster
    facts = " · ".join((*cluster.versions[:3], *cluster.hosts[:3]))
    first = f"first seen {clock.iso(cluster.first_seen)}" if cluster.first_seen else ""
    own = tuple(mark for mark in news.marks if not mark.text.startswith("C-") or mark.text.startswith(cluster.id))
    about = " · ".join((_text(item.why), first, _text(facts)))
    return (
        f'<tr class="{item.kind.value}"><td><code>{_text(cluster.id)}</code></td>'
        f'<td class="n">{item.count}{TIMES}</td><td><code>{_text(clean(cluster.title, limit=200))}</code><br>'
        f'<span class="dim">{about}</span></td><td>{chart(item.daily, own, news, height=24)}</td></tr>'
    )


def chart(daily: tuple[int, ...], marks: tuple[Mark, ...], news: News, *, height: int = _HEIGHT) -> str:
    """Crashes a day as bars, with a line where something changed; the last bar is the day of the report."""
    top = max(daily, default=0) or 1
    width = DAYS * _WIDTH
    small = height < _HEIGHT
    parts = [f'<svg viewBox="0 0 {width} {height + (0 if small else 14)}" width="{width if small else width * 3}" '
             'role="img" xmlns="http://www.w3.org/2000/svg">'
             f"<title>Crashes a day, the last {DAYS} days; {max(daily, default=0)} at most</title>"]  # fmt: skip
    begin = news.until - timedelta(days=DAYS - 1)
    for at, count in enumerate(daily):
        if count:
            tall = max(1.0, count * (height - 2) / top)
            day = f"{begin + timedelta(days=at):%Y-%m-%d}"
            parts.append(f'<rect class="bar" x="{at * _WIDTH + 1}" y="{height - tall:.1f}" width="{_WIDTH - 2}" '
                         f'height="{tall:.1f}"><title>{day}: {count}</title></rect>')  # fmt: skip
    parts.append(f'<line class="axis" x1="0" y1="{height}" x2="{width}" y2="{height}"/>')
    for mark in marks:
        days = (mark.at - begin.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds() / 86400
        if 0 <= days <= DAYS:
            x = days * _WIDTH
            parts.append(f'<line class="mark" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height}">'
                         f"<title>{_text(mark.text)}, {clock.iso(mark.at)}</title></line>")  # fmt: skip
    if not small:
        parts.append(f'<text x="0" y="{height + 11}">{begin:%m-%d}</text>'
                     f'<text x="{width}" y="{height + 11}" text-anchor="end">{news.until:%m-%d}</text>')  # fmt: skip
    return "".join(parts) + "</svg>"


def _text(text: str) -> str:
    return escape(clean(text), quote=True)
