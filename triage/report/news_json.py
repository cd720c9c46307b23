"""The report as one JSON object, for programs."""

from __future__ import annotations

from typing import Any

from triage import clock
from triage.report.news import Item, Kind, News
from triage.report.news_text import headline
from triage.states.spike import DAYS
from triage.wire import cluster_to_json


def news_to_json(news: News) -> dict[str, Any]:
    """Times as ISO 8601; `daily` counts end with the day of `until`."""
    return {
        "headline": headline(news),
        "news": news.any,
        "since": clock.iso(news.since) if news.since else None,
        "until": clock.iso(news.until),
        "crashes": news.crashes,
        "crashes_before": news.before,
        "known_clusters": news.others,
        "hosts": list(news.hosts),
        **{kind.value: [_item(item) for item in news.of(kind)] for kind in Kind},
        "unreadable": [
            {
                "core": outcome.core,
                "code": outcome.failure.code if outcome.failure else None,
                "message": outcome.failure.message if outcome.failure else None,
            }
            for outcome in news.unread
        ],
        "first": _first(news),
        "days": DAYS,
        "daily": list(news.daily),
        "changes": [{"time": clock.iso(mark.at), "text": mark.text} for mark in news.marks],
        "newest_arrival": clock.iso(news.newest) if news.newest else None,
    }


def _item(item: Item) -> dict[str, Any]:
    return {"cluster": cluster_to_json(item.cluster), "count": item.count, "why": item.why, "daily": list(item.daily)}


def _first(news: News) -> dict[str, Any] | None:
    if news.first is None:
        return None
    said = news.first.statement
    return {
        "cluster": news.first.cluster,
        "text": said.text,
        "commands": list(said.commands),
        "undo": list(said.undo),
        "because": list(said.evidence),
    }
