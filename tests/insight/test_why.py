"""`triage why` as a program: a fleet whose cause, onset and change are known."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.store.samples import STAMP, crash, triaged
from tests.unit.guarded import ROOT
from triage import clock
from triage.insight.answered import answered
from triage.insight.correlate import Attribute, Unit, compare
from triage.insight.why import Setup
from triage.model import Change, Crash, Runtime, Snapshot
from triage.store import Store, open_store

_EXTENSIONS = {"Core": "8.2.36", "Zend OPcache": "8.2.36"}


def snapshot(host: str, options: dict[str, str | None], days_ago: float) -> Snapshot:
    moment = clock.now() - timedelta(days=days_ago)
    return Snapshot(
        host=host, pool="www", sapi="fpm-fcgi", version="8.2.36", options=options, extensions=_EXTENSIONS,
        libraries={}, first_seen=moment, last_seen=clock.now(), workers=10,
    )  # fmt: skip


def crashed(number: int, host: str, options: dict[str, str | None], hours_ago: float) -> Crash:
    runtime = Runtime(name="php", version="8.2.36", sapi="fpm-fcgi", options=options, extensions=_EXTENSIONS)
    found = crash(f"c{number:03}", key="v1:x", host=host, time=clock.now() - timedelta(hours=hours_ago))
    return replace(found, runtime=runtime, modules=())


def setting(at: int) -> dict[str, str | None]:
    """Host `at`'s options: the cause is on every fifth, another on every second."""
    every: dict[str, str | None] = {"memory_limit": "256M"}
    if at % 5 == 0:
        every["opcache.jit"] = "tracing"
    if at % 2:
        every["precision"] = "17"
    return every


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """40 hosts looked at for 20 days; 24 crashes on those with the cause, since 6 days; a deploy an hour before."""
    path = tmp_path / "fleet.db"
    with open_store(f"sqlite:///{path}") as store:
        _fill(store)
    return path


def _fill(store: Store) -> None:
    for at in range(40):
        store.add_snapshot(snapshot(f"web-{at}", setting(at), 20))
    for number in range(24):
        store.save(
            triaged(crashed(number, f"web-{5 * (number % 8)}", setting(5 * (number % 8)), 6 * number + 1)), STAMP
        )
    begun = clock.now() - timedelta(hours=24 * 6 - 4)
    for before, what in ((1.2, "shop 47"), (24 * 9.0, "shop 46"), (-30.0, "shop 48")):
        time = begun - timedelta(hours=before)
        store.add_change(Change(time=time.timestamp(), kind="deploy", what=what, source="triage event add"))


def run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "triage", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    return done.returncode, done.stdout, done.stderr


def test_why_names_the_option_the_onset_and_the_change(fleet: Path) -> None:
    with open_store(f"sqlite:///{fleet}") as store:
        (cluster,) = store.clusters()

    status, out, errors = run("why", cluster.id, "--store", str(fleet))

    assert (status, errors) == (0, "")
    assert "opcache.jit=tracing: 24/24 crashes, 20% of workers." in " ".join(out.split())
    assert "precision" not in out
    assert "It began between" in out
    assert "Suspect 1, very likely: shop 47 at" in " ".join(out.split())


def test_why_as_json(fleet: Path) -> None:
    with open_store(f"sqlite:///{fleet}") as store:
        (cluster,) = store.clusters()

    status, out, _ = run("why", cluster.id, "--json", "--store", str(fleet))
    found = json.loads(out)

    assert status == 0
    assert found["candidates"][0]["conditions"] == [["opcache.jit=tracing"]]
    assert found["suspects"][0]["what"] == "shop 47"
    assert found["onset"]["new"] is True


def test_events_are_kept_and_listed(tmp_path: Path) -> None:
    store = str(tmp_path / "s.db")

    status, out, errors = run("event", "add", "shop 1", "--at", "2026-11-24T08:30+00:00", "--store", store)
    assert (status, out, errors) == (0, "", "kept: shop 1 (deploy) at 2026-11-24T08:30:00Z\n")
    assert run("event", "list", "--store", store)[1].splitlines()[1] == (
        "2026-11-24T08:30:00Z\tdeploy\t\tshop 1\ttriage event add"
    )
    assert run("event", "add", "x", "--at", "yesterday", "--store", store)[0] == 2


def test_what_is_not_told_apart_is_named_with_where_it_parts() -> None:
    def host(at: int) -> Unit:
        own = {"opcache.jit": at % 5 == 0, "pcre.jit": at % 5 == 0 and at != 35, "precision": at % 2 == 0}
        return Unit(frozenset(Attribute("option", name, "1") for name, there in own.items() if there), f"web-{at}")

    hosts = [host(at) for at in range(40)]
    found = compare([hosts[5 * (at % 7)] for at in range(10)], hosts)
    setup = Setup(found=found, against="healthy", places=tuple(f"pool www on web-{at}" for at in range(40)))

    first, *_ = answered(setup)

    assert first.text == (
        "pcre.jit=1: 10/10 crashes, 18% of workers. These crashes do not tell it from: opcache.jit=1: 10/10 crashes, "
        "20% of workers. Where they part: pool www on web-35 has opcache.jit=1 but not pcre.jit=1. A crash there "
        "speaks for what is set there; a long time without one, against it."
    )
