"""Keys for the whole view: writing it, zooming, pinning, sorting, moving apart; and how few it takes to decide."""

from __future__ import annotations

import json
from pathlib import Path

from tests.store.samples import at, crash
from tests.tui.driver import Screen, drive
from tests.tui.samples import fill, many, whole
from triage.model import Change, Decision, Flag, State
from triage.report.exports import Export, as_html, as_markdown
from triage.report.lines import Line
from triage.store import Store
from triage.tui.inbox import InboxPlace
from triage.tui.rows import Rows


def test_what_died_since_when_what_to_try_and_the_mark_take_under_ten_keys(store: Store) -> None:
    """The walk of docs/tui.md, by somebody who reads what is on the screen and no C."""
    many(store)
    store.add_change(Change(time=at(-660).timestamp(), kind="deploy", what="shop v4.182", source="test"))
    pressed: list[str] = []

    async def script(screen: Screen) -> None:
        async def press(*keys: str) -> None:
            pressed.extend(keys)
            await screen.press(*keys)

        assert "Native code used a pointer that was NULL." in screen.text  # what died
        assert "Since     2026-01-01T00:00:00Z" in screen.text  # since when
        assert "Try first " in screen.text  # what to try
        await press("enter")
        assert "try first" in screen.text
        await press("w")
        assert "the faulting address is 0x10 bytes above NULL" in screen.text
        await press("4")
        assert "deploy: shop v4.182" not in screen.text  # the day before it began is not on the timeline
        assert "What changed" in screen.text
        await press("3")
        assert "opcache.jit=1255: 9 of 9 crashes" in screen.text
        await press("2")
        assert "Shop\\Cart::total()" in screen.text
        await press("s", "f", "enter")
        await screen.until("fixed")

    drive(store, script, size=(120, 36))
    assert len(pressed) < 10
    marked = next(cluster for cluster in store.clusters() if cluster.signature == "v1:memset")
    assert marked.state is State.FIXED


def test_the_timeline_tells_what_was_changed_and_decided(store: Store) -> None:
    fill(store, whole(), whole("c0ffee02", time=at(86_400)))
    (cluster,) = store.clusters()
    store.mark(cluster.id, Decision(state=State.FIXED, fixed_in="v4.182", at=at(3600), by="ann"))
    for change in (
        Change(time=at(7200).timestamp(), kind="deploy", what="shop v4.182 [red]", source="test"),
        Change(time=at(60).timestamp(), kind="deploy", what="elsewhere", source="test", host="web-9"),
    ):
        store.add_change(change)
    assert store.cluster(cluster.id).flags == (Flag.REGRESSED,)

    async def script(screen: Screen) -> None:
        await screen.press("enter", "4")
        lines = [line.strip() for line in screen.lines()]
        first = lines.index("── 01:00 ann: fixed in v4.182")
        assert lines[first + 1] == "── 02:00 deploy: shop v4.182 [red]"
        assert "elsewhere" not in screen.text  # the cluster was never on that host

    drive(store, script, size=(120, 36))


def test_each_view_is_written_into_a_private_file(store: Store, tmp_path: Path) -> None:
    fill(store, whole(), whole("c0ffee02", time=at(60)), crash("aa01"))

    async def script(screen: Screen) -> None:
        async def written(key: str, name: str) -> str:
            path = tmp_path / name
            await screen.press("E", key)
            await screen.fill(str(path), "enter")
            await screen.told(f"written to {path}")
            assert path.stat().st_mode & 0o777 == 0o600
            return path.read_text("utf-8")

        clusters = json.loads(await written("j", "clusters.json"))
        assert [one["crashes"] for one in clusters] == [["c0ffee02", "c0ffee01"], ["aa01"]]
        assert "memset ◂ Shop\\Cart::total()" in await written("m", "clusters.md")
        await screen.press("enter")
        page = await written("m", "cluster.md")
        assert page.startswith("# `memset ◂ Shop\\Cart::total()`\n\n## Summary\n")
        assert "## What goes with it" in page
        await screen.press("enter")
        assert json.loads(await written("j", "crash.json"))["id"] == "c0ffee02"
        html = await written("h", "crash.html")
        assert html.startswith("<!doctype html>")
        assert "memset ◂ Shop\\Cart::total()" in html
        assert "<script" not in html

    drive(store, script)


def test_exports_hold_what_is_hostile() -> None:
    view = Export(
        title="`x` </title><script>", name="x", value=None,
        lines=[Line("Head", "head"), Line("  ``` \x1b[31m </pre><script>alert(1)</script>", "warn")],
    )  # fmt: skip
    assert as_markdown(view) == (
        "# `x </title><script>`\n\n## Head\n\n````\n  ``` \\x1b[31m </pre><script>alert(1)</script>\n````\n\n"
    )
    html = as_html(view)
    assert "<script" not in html
    assert "  ``` \\x1b[31m &lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_zoom_shows_one_part_alone(store: Store) -> None:
    fill(store, whole(), crash("aa01", time=at(-9)))

    async def script(screen: Screen) -> None:
        both = screen.lines()
        await screen.press("z")
        assert screen.lines()[0].startswith("  state")  # no title, the list from the first line on
        assert "Try first" not in screen.text
        await screen.press("z")
        assert "Try first" in screen.text
        assert "▸ ● new" not in screen.text
        await screen.press("z")
        assert screen.lines() == both
        await screen.press("enter", "enter", "z")
        assert screen.lines()[0].split()[:3] == ["#", "the", "stack,"]
        await screen.press("z")
        assert "function  memset" not in screen.text
        assert "function  __memset_evex" in screen.text

    drive(store, script)


def test_a_pin_keeps_what_is_shown(store: Store) -> None:
    fill(store, whole(), crash("aa01", time=at(-9)))

    async def script(screen: Screen) -> None:
        assert "Native code used a pointer that was NULL." in screen.text
        await screen.press("p", "j")
        await screen.told("p lets go")
        assert "Native code used a pointer that was NULL." in screen.text
        await screen.press("p")
        assert "Native code used a pointer that was NULL." not in screen.text
        await screen.press("k", "enter", "enter", "p", "j", "j")
        assert any(line.startswith(" function  __memset_evex") for line in screen.lines())
        await screen.press("p")
        assert any(line.startswith(" file      /srv/shop/src/Cart.php:41") for line in screen.lines())

    drive(store, script)


def test_a_click_on_a_head_sorts(store: Store) -> None:
    fill(store, *(crash(f"aa{n:02}", key="v1:a", title="aaa ◂ a()", time=at(n)) for n in range(3)))
    fill(store, crash("bb01", key="v1:b", title="bbb ◂ b()", time=at(50)))

    async def script(screen: Screen) -> None:
        assert "bbb" in screen.lines()[2]
        head = screen.lines()[1]
        await screen.pilot.click(Rows, offset=(head.index(" N") + 1, 0))
        await screen.settle()
        assert screen.lines()[1] == " filter  sort:n"
        assert "aaa" in screen.lines()[3]
        await screen.pilot.click(Rows, offset=(head.index("last"), 0))
        await screen.settle()
        assert screen.lines()[1] == " filter  sort:last"
        assert "bbb" in screen.lines()[3]
        await screen.press("escape")
        assert isinstance(screen.app.screen, InboxPlace)

    drive(store, script)


def test_the_right_one_of_two_is_moved_into_a_cluster_of_its_own(store: Store) -> None:
    fill(store, whole(), whole("c0ffee02", time=at(60)))
    (before,) = store.clusters()

    async def script(screen: Screen) -> None:
        await screen.press("enter", "5", "space", "j", "d", "m")
        await screen.told("takes it back")

    drive(store, script)
    moved = store.crash("c0ffee01").cluster
    assert moved != before.id
    assert store.crash("c0ffee02").cluster == before.id
    assert any(f"triage clusters --undo {change.number}" for change in store.regroupings())


def test_the_last_line_is_clicked(store: Store) -> None:
    fill(store, whole())

    async def script(screen: Screen) -> None:
        at_state = screen.lines()[-1].index("s state")
        await screen.pilot.click("#keys", offset=(at_state, 0))
        await screen.settle()
        assert "What is decided" in screen.text

    drive(store, script)
