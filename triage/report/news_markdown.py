"""The report as Markdown for a ticket or a chat: text from cores is code, and mentions nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator

from triage import clock
from triage.report.news import Item, Kind, News
from triage.report.news_text import TIMES, headline, sparkline
from triage.text import clean, plural

_HEADS = {
    Kind.REGRESSED: "Back after the fix",
    Kind.NEW: "New",
    Kind.SPIKING: "More often than usual",
    Kind.AWAKE: "No longer to be ignored",
}
_MOST = 20


def markdown_lines(news: News, program: str) -> Iterator[str]:
    """The whole report."""
    yield f"# Crashes: {headline(news)}"
    yield ""
    span = f"{clock.iso(news.since)} to {clock.iso(news.until)}" if news.since else f"until {clock.iso(news.until)}"
    yield f"{span}, {plural(news.crashes, 'crash')} on {', '.join(code(host) for host in news.hosts) or 'no host'}."
    for kind, head in _HEADS.items():
        if news.of(kind):
            yield from ("", f"## {head}", "")
            for item in news.of(kind)[:_MOST]:
                yield from _item(item)
            if len(news.of(kind)) > _MOST:
                yield f"- and {len(news.of(kind)) - _MOST} more"
    if news.unread:
        yield from ("", "## Could not be read", "")
        for outcome in news.unread[:_MOST]:
            yield f"- {code(outcome.core)}: {code(outcome.failure.message if outcome.failure else '')}"
    if news.first is not None:
        said = news.first.statement
        yield from ("", f"## Do first, for {code(news.first.cluster)}", "", escaped(said.text))
        if said.commands:
            yield from ("", "```sh", *(clean(command).replace("```", "` ` `") for command in said.commands), "```")
        yield from ("", f"Everything about it: `{program} explain {news.first.cluster}`")


def _item(item: Item) -> Iterator[str]:
    cluster = item.cluster
    facts = [*(code(version) for version in cluster.versions[:3]), *(code(host) for host in cluster.hosts[:3])]
    yield f"- **{code(cluster.id)}** {item.count}{TIMES} {code(clean(cluster.title, limit=160))}"
    yield f"  {escaped(item.why)}; {', '.join(facts)}; last 14 days `{sparkline(item.daily[-14:])}`"


def code(text: str) -> str:
    """Text as a code span: nothing in it is markup."""
    safe = clean(text)
    longest = max((len(run) for run in re.findall(r"`+", safe)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if safe.startswith("`") or safe.endswith("`") or not safe else ""
    return f"{fence}{pad}{safe}{pad}{fence}"


def escaped(text: str) -> str:
    """Text with everything that Markdown or a bug tracker would take as markup made plain."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~@&])", r"\\\1", clean(text))
