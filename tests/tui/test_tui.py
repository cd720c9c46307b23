"""The interface as its user meets it: what the keys do."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from textual.binding import Binding

from tests.store.samples import at, crash
from tests.tui.driver import Screen, drive
from tests.tui.samples import FINDING, fill, whole
from triage.errors import UsageError
from triage.model import (
    Confidence,
    Crash,
    Decision,
    Finding,
    Flag,
    Frame,
    Module,
    Request,
    Runtime,
    Signature,
    State,
    Symbols,
    Worker,
)
from triage.store import Store
from triage.tui.actions import ACTIONS, EVERYWHERE, bindings
from triage.tui.copying import clip_file
from triage.tui.glyphs import ascii_text, sparkline
from triage.tui.help import help_text
from triage.tui.inbox import InboxPlace
from triage.tui.outside import editor_argv
from triage.tui.rows import Rows
from triage.tui.settings import Ui, local_path, read_settings


def rows(screen: Screen, id_: str = "Rows") -> Rows:
    return screen.app.screen.query_one(id_, Rows)


def test_the_way_from_inbox_to_crash_and_back(store: Store) -> None:
    fill(store, whole(), whole("c0ffee02", time=at(60)), crash("aa01"))

    async def script(screen: Screen) -> None:
        assert screen.lines()[0].startswith(" triage ▸ 2 clusters, 3 crashes   test.db")
        await screen.press("enter")
        assert "2 crashes" in screen.lines()[0]
        await screen.press("l")  # from the summary: the newest crash
        assert "c0ffee02   1 of 2" in screen.lines()[0]
        await screen.press("j", "j")
        assert " file      /srv/shop/src/Cart.php:41" in screen.lines()
        await screen.press("right_square_bracket")
        assert "2 of 2" in screen.lines()[0]
        await screen.press("right_square_bracket")
        await screen.told("the oldest crash")
        await screen.press("left_square_bracket", "t")
        assert rows(screen, "#stack").row_count == 4
        assert "zif_array_map" not in screen.text
        await screen.press("t")
        assert rows(screen, "#stack").row_count == 6
        await screen.press("q", "escape")
        assert isinstance(screen.app.screen, InboxPlace)
        await screen.press("q")
        assert screen.app._exit

    drive(store, script)


def test_tabs_open_by_digit_tab_key_and_click(store: Store) -> None:
    fill(store, whole())

    async def script(screen: Screen) -> None:
        await screen.press("enter", "5")
        assert "2026-01-01 00:00:00" in screen.text
        await screen.press("tab", "tab")  # after the last the first
        assert "what died" in screen.text
        await screen.press("shift+tab", "9")  # there is no ninth
        assert "GH-17654" in screen.text
        await screen.pilot.click("#tabs", offset=(14, 0))
        await screen.settle()
        assert "zif_array_map" in screen.text

    drive(store, script)


def test_a_decision_is_made_noted_and_taken_back(store: Store) -> None:
    fill(store, whole())
    (cluster,) = store.clusters()

    async def script(screen: Screen) -> None:
        await screen.press("s", "f", *"8.2.30", "enter")
        held = store.cluster(cluster.id)
        assert (held.state, held.decision and held.decision.fixed_in) == (State.FIXED, "8.2.30")
        assert screen.lines()[2].startswith("▸ ✓ fixed")
        await screen.press("enter", "n", *"wiki", "enter")
        assert store.cluster(cluster.id).note == "wiki"
        await screen.press("enter", "u", "u")
        assert store.cluster(cluster.id) == cluster
        assert len(store.decisions(cluster.id)) == 2
        await screen.press("u")
        await screen.told("nothing was decided")
        await screen.press("s", "escape", "s", "i", *"never", "enter")
        await screen.told("'never' is no condition")
        assert store.cluster(cluster.id) == cluster
        await screen.press("s", "i", "enter")
        decision = store.cluster(cluster.id).decision
        assert decision is not None
        assert (decision.state, decision.until, decision.by) == (State.IGNORED, ">2/d", "ann")

    drive(store, script)


def test_the_filter(store: Store) -> None:
    fill(store, whole(), crash("aa01", key="v1:other", title="zend_gc ◂ other()"))

    async def typed(screen: Screen, text: str) -> None:
        await screen.press("slash", *("space" if char == " " else char for char in text), "enter")

    async def script(screen: Screen) -> None:
        await typed(screen, "ext:redis CART::total")
        assert rows(screen).row_count == 1
        assert screen.lines()[:2] == [
            " triage ▸ 1 of 2 clusters, 1 crash   test.db",
            " filter  ext:redis CART::total",
        ]
        await screen.press("slash")
        await screen.fill("is:opn", "enter")
        await screen.until("Did you mean is:open?")
        assert rows(screen).row_count > 0  # the last good result stays
        await screen.press("slash", "up", "up")
        assert screen.app.screen.query_one("#filter").value == "ext:redis CART::total"  # type: ignore[attr-defined]
        await screen.press("escape")
        assert rows(screen).row_count == 2
        assert "filter" not in screen.lines()[1]

    drive(store, script)


def test_what_is_new_waits_until_it_is_asked_for(store: Store) -> None:
    fill(store, *(crash(f"aa{n:02}", key=f"v1:k{n}", title=f"place {n}", time=at(n)) for n in range(40)))

    async def script(screen: Screen) -> None:
        await screen.press(*["pagedown"] * 2)
        table = rows(screen)
        before = screen.lines()[2:15]
        fill(store, crash("bb01", key="v1:new", title="the new one", time=at(99)))
        fill(store, crash("bb02", key="v1:k20", title="place 20", time=at(100)))
        screen.app.watch_store()
        await screen.until("1 new: press .")
        assert [line[:50] for line in screen.lines()[2:15]] == [line[:50] for line in before]
        chosen = table.current
        assert "the new one" not in screen.text
        await screen.press("full_stop")
        assert (table.current, table.row_count) == (chosen, 41)
        await screen.press("home")
        assert "place 20" in screen.lines()[2]
        assert "the new one" in screen.lines()[3]

    drive(store, script)


def test_it_watches_by_itself(store: Store) -> None:
    async def script(screen: Screen) -> None:
        await screen.until("No crashes yet.")
        await asyncio.sleep(1.1)
        fill(store, whole())
        await screen.until("1 cluster, 1 crash")
        assert "No crashes yet." not in screen.text

    drive(store, script)


def test_copies_go_to_the_terminal_and_into_a_private_file(store: Store) -> None:
    fill(store, whole())
    (cluster,) = store.clusters()

    async def copied(screen: Screen, *keys: str) -> str:
        await screen.press(*keys)
        text = clip_file().read_text("utf-8")
        assert screen.app.clipboard == text
        assert (clip_file().stat().st_mode & 0o777, clip_file().parent.stat().st_mode & 0o777) == (0o600, 0o700)
        return text

    async def script(screen: Screen) -> None:
        assert await copied(screen, "y", "i") == cluster.id
        assert await copied(screen, "enter", "y", "s") == "v1:memset"
        assert (await copied(screen, "enter", "y", "b")).splitlines() == [
            "  native  __memset_evex                           libc.so.6",
            "  php     FFI::memset()",
            "  php     Shop\\Cart::total()                      /srv/shop/src/Cart.php:41",
            "  native  zif_array_map                           php8.2",
            "  php     array_map()",
            "  php     {main}                                  /srv/shop/src/Cart.php:7",
        ]
        assert (await copied(screen, "y", "m")).startswith("# `memset ◂ Shop\\Cart::total()`\n")
        assert await copied(screen, "y", "c") == "triage debug /var/crash/core.c0ffee01"
        assert (await copied(screen, "b", "y")).startswith("<!-- Suggested title: SIGSEGV: memset")
        await screen.press("w")
        await screen.fill(str(clip_file().with_name("kept.md")), "enter")
        await screen.told("read it before you publish it")
        assert clip_file().with_name("kept.md").read_text("utf-8") == clip_file().read_text("utf-8")

    drive(store, script)


def test_two_that_are_marked_are_compared(store: Store) -> None:
    fill(store, whole(), whole("c0ffee02", time=at(60), host="web-9"))

    async def script(screen: Screen) -> None:
        await screen.press("enter", "5", "d")
        await screen.told("a comparison needs two")
        await screen.press("space", "j", "d")
        lines = screen.lines()
        assert lines[0] == " triage ▸ compare   c0ffee02  and  c0ffee01"
        assert "   host         web-9                          web-1" in lines
        await screen.press("x")
        assert "   host         web-1                          web-9" in screen.lines()
        await screen.press("escape")
        assert any(line.startswith("  ◆ 2026-01-01 00:01") for line in screen.lines())

    drive(store, script)


def test_help_is_searched_by_typing(store: Store) -> None:
    async def script(screen: Screen) -> None:
        await screen.press("question_mark", *"undo")
        assert [line.strip(" │") for line in screen.lines() if "undo:" in line] == [
            "u               undo: take the newest decision or note back"
        ]
        await screen.press(*["backspace"] * 4, *"regress")
        assert "is:regressed" in screen.text
        await screen.press("escape", "ctrl+p", *"reads")
        await screen.press("escape")
        assert isinstance(screen.app.screen, InboxPlace)

    drive(store, script)


def test_the_palette_has_what_can_be_done_here_saved_views_and_words(store: Store) -> None:
    fill(store, whole(), crash("aa01"))

    async def script(screen: Screen) -> None:
        await screen.press("colon", *"mine")
        await screen.until("view: mine")
        await screen.press("enter")
        await screen.until("1 of 2 clusters")
        await screen.press("enter", "ctrl+p", *"valgrind")
        await screen.until("help: what is valgrind?")
        await screen.press("enter")
        await screen.told("valgrind: a program")

    drive(store, script, ui=Ui(views={"mine": "ext:redis"}))


def test_settings_of_a_crash_are_held_against_the_others(store: Store) -> None:
    base = whole()
    assert base.runtime is not None
    fill(store, base, replace(whole("c0ffee02", time=at(9)), runtime=replace(base.runtime, options={"x.y": "\x1b1"})))

    async def script(screen: Screen) -> None:
        await screen.press("enter", "5", "j", "enter", "5")
        await screen.until("compared with 1 other crash")
        assert "   memory_limit  512M   ← 1 of 1 others: the default" in screen.lines()
        assert any(line.startswith("   x.y ") and "others: \\x1b1" in line for line in screen.lines())

    drive(store, script)


def test_code_at_the_frame_is_shown(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "src" / "Cart.php"
    source.parent.mkdir()
    source.write_text("".join(f"line {n} \x1b[2J[red]\n" for n in range(1, 50)))
    library = Path("/proc/self/exe").resolve()
    frames = (
        Frame(kind="php", function="total", file="/srv/shop/src/Cart.php", line=41),
        Frame(kind="php", function="gone", file="/srv/shop/src/Cart.php", line=410),
        Frame(kind="native", function="main", module=str(library), offset=64),
    )
    module = Module(path=str(library), build_id="0" * 40, start=0, end=1 << 20, symbols=Symbols.NONE)
    found = whole()
    fill(store, replace(found, threads=(replace(found.threads[0], frames=frames),), modules=(module,)))

    async def script(screen: Screen) -> None:
        await screen.press("enter", "enter", "o")
        assert "▸   41 line 41 \\x1b[2J[red]" in screen.text
        await screen.press("j")
        assert "has no line 410: it is not the file that" in " ".join(screen.text.split())  # wherever it is broken
        await screen.press("j")
        assert f"the very file that ran ({library})" in screen.text

    drive(store, script, size=(120, 36), ui=Ui(source_map={"/srv/shop": str(tmp_path)}))


def test_where_the_terminal_cannot_be_lent_the_command_is_copied(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", "myeditor --wait")
    (tmp_path / "Cart.php").write_text("<?php\n" * 50)
    core = tmp_path / "core"
    core.write_bytes(b"x")
    fill(store, whole(core=str(core)))

    async def script(screen: Screen) -> None:
        await screen.press("enter", "enter", "g")
        assert screen.app.clipboard == f"triage debug {core}"
        await screen.press("j", "j", "e")
        assert screen.app.clipboard == f"myeditor --wait +41 {tmp_path}/Cart.php"
        core.unlink()
        await screen.press("g")
        await screen.told("is gone: GDB has nothing to open")

    drive(store, script, ui=Ui(source_map={"/srv/shop/src": str(tmp_path)}))


def test_editors_that_open_a_line_in_their_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "code -w")
    assert editor_argv(Path("/a b.php"), 7) == ["code", "-w", "-g", "/a b.php:7"]
    monkeypatch.delenv("VISUAL")
    assert editor_argv(Path("/a.php"), 7) == ["vi", "+7", "/a.php"]


def test_in_a_browser_nothing_is_run(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_SERVED", "1")
    core = tmp_path / "core"
    core.write_bytes(b"x")
    fill(store, whole(core=str(core)))

    async def script(screen: Screen) -> None:
        await screen.press("i")
        await screen.told("from a terminal only")
        await screen.press("enter", "enter", "c")
        await screen.told("no console in a browser")
        await screen.press("g")
        await screen.told("not from a browser")

    drive(store, script)


@pytest.mark.parametrize("size", [(40, 12), (20, 5), (200, 50)])
def test_every_size_works(store: Store, size: tuple[int, int]) -> None:
    fill(store, whole(), crash("aa01"))

    async def script(screen: Screen) -> None:
        for keys in (
            ("j", "k"),
            ("enter",),
            ("2",),
            ("enter",),
            ("2",),
            ("question_mark",),
            ("escape",),
            ("escape",),
        ):
            await screen.press(*keys)
            assert all(len(line) <= size[0] for line in screen.lines())
        if size == (40, 12):
            assert any(line.startswith("▸ 0  C") or "▸   0  C" in line for line in screen.lines()), screen.text
        if size == (200, 50):
            await screen.press("escape")
            await screen.until("The process ended")
            row = next(line for line in screen.lines() if "The process ended" in line)
            assert row.index("The process ended") > 100  # beside the list

    drive(store, script, size=size)


def test_every_action_is_bound_explained_and_does_something() -> None:
    for place in EVERYWHERE:
        bound = {binding.action for binding in bindings(place) if isinstance(binding, Binding)}
        assert bound == {action.name for action in ACTIONS if place in action.where}
        page = help_text(place, {}).plain
        assert all(action.help in page and action.key_text in page for action in ACTIONS)
        keys = [key for action in ACTIONS if place in action.where for key in action.keys]
        assert len(keys) == len(set(keys)), place


def test_a_keymap_changes_key_and_help(store: Store) -> None:
    fill(store, whole())

    async def script(screen: Screen) -> None:
        await screen.press("s")
        assert "What is decided" not in screen.text
        await screen.press("f7")
        assert "What is decided" in screen.text
        await screen.press("escape", "question_mark", *"decide:")
        assert "f7 " in screen.text

    drive(store, script, ui=Ui(keys={"state": "f7"}))


def test_settings_come_from_a_file_and_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"

    def read(text: str) -> Ui:
        path.write_text(text)
        return read_settings([tmp_path / "none", path])

    assert read_settings([tmp_path / "none"]) == Ui()
    assert read('[ui]\ntheme="light"\nascii=true\n[keys]\nundo="z"\n[source_map]\n"/a"="/b"\n[report]\nx=1\n') == Ui(
        theme="light", ascii=True, keys={"undo": "z"}, source_map={"/a": "/b"}
    )
    for text, message in (
        ("[ui]\nthem='x'", "there is no ui.them"),
        ("[ui]\ntheme='x'", "ui.theme is 'x'"),
        ("[ui]\nascii='x'", "ui.ascii is 'x'"),
        ("[keys]\nundoo='x'", "there is no keys.undoo"),
        ("[keys]\nundo=1", "keys.undo must be a text"),
        ("keys=1", "keys must be a table"),
        ("[", "cannot be read"),
    ):
        with pytest.raises(UsageError) as caught:
            read(text)
        assert message in caught.value.message


def test_paths_of_the_server_become_local_ones() -> None:
    chart = {"/srv": "/mnt", "/srv/app": "/home/me/app"}
    for there, here in (("/srv/app/x.php", "/home/me/app/x.php"), ("/srv/x", "/mnt/x"), ("/srvx/y", "/srvx/y")):
        assert local_path(there, chart) == Path(here)


def test_ascii_mode_draws_with_ascii_alone(store: Store) -> None:
    fill(store, whole(), crash("aa01", title="漢字 ◂ é"))

    async def script(screen: Screen) -> None:
        for keys in ((), ("enter",), ("enter",), ("question_mark",)):
            await screen.press(*keys)
            assert "".join(segment.text for segment in screen.filtered()).isascii()

    drive(store, script, ui=Ui(ascii=True))
    assert ascii_text("▸ 漢é…") == "> ???~"


def test_no_colour_is_no_colour(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    fill(store, whole())

    async def script(screen: Screen) -> None:
        await screen.press("enter")
        assert screen.app.no_color
        styles = [segment.style for segment in screen.filtered() if segment.style]
        assert styles
        assert all(style.color is None and style.bgcolor is None for style in styles)
        assert any(style.reverse for style in styles)  # the open tab is marked without colour

    drive(store, script)


def test_sparklines() -> None:
    assert sparkline([0, 1, 4, 8]) == "▁▂▄█"
    assert sparkline([0, 0]) == "  "
    assert sparkline([1]) == "█"


HOSTILE = (
    "[red]x[/]", "[/nope]", "[@click=app.quit]push[/]", "\x1b[31mred", "\x1b]0;title\x07", "a\u202eb\u2066c",
    "\x9b31m\x00nul", "new\nline\ttab", "\udc80lone", "w" * 10_000, "漢字" * 40, "e\u0301\u0323", "\u0627" * 30,
)  # fmt: skip


def hostile(text: str, number: int) -> Crash:
    """A crash whose every string is `text`, as the reader of a core hands it on."""
    stored = text.encode("utf-8", "backslashreplace").decode()
    frame = Frame(kind="php", function=stored, class_name=stored, file=stored, line=1, note=stored)
    native = Frame(kind="native", function=stored, module=stored, offset=1, address=1, note=stored)
    runtime = Runtime(
        name="php", version=stored, sapi=stored, script=stored, request=Request(method=stored, uri=stored),
        extensions={stored: stored}, options={stored: stored}, environment={stored: stored},
        worker=Worker(pool=stored, stage=stored), callbacks=(stored,),
    )  # fmt: skip
    finding = Finding(
        rule="x", title=stored, confidence=Confidence.GUESS, evidence=(stored,), explanation=stored,
        next_steps=(stored,),
    )  # fmt: skip
    found = whole(f"bad{number:05}")
    return replace(
        found, host=stored, core=stored, executable=stored, arguments=(stored,), runtime=runtime, warnings=(stored,),
        findings=(finding, replace(finding, topic=FINDING.topic)),
        signature=Signature(key=f"v1:{number}", title=stored, steps=(stored,)),
        threads=(replace(found.threads[0], name=stored, frames=(frame, native)),),
        modules=(found.modules[0]._replace(path=stored, build_id=stored),), instruction=stored, gdb=stored,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("walked", "clicked"),
    [
        pytest.param((2, 9), (1, 3, 9, 12, 20), id="some"),
        pytest.param(range(len(HOSTILE)), range(24), id="all", marks=pytest.mark.whole),
    ],
)
def test_hostile_strings_change_nothing_outside_their_cell(
    store: Store, walked: Sequence[int], clicked: Sequence[int]
) -> None:
    """A core's strings may hold markup, escape sequences and worse: they are shown, in their own place.

    Every string is looked at in the list; those `walked` on every screen, where the rows `clicked` are clicked.
    """
    fill(store, *(hostile(text, number) for number, text in enumerate(HOSTILE)))
    for number, cluster in enumerate(store.clusters()):
        text = HOSTILE[number].replace("\udc80", "?")
        now = at(1)
        store.mark(cluster.id, Decision(state=State.KNOWN, at=now, by=text, note=text, bug=text))

    async def script(screen: Screen) -> None:
        async def sound() -> None:
            for strip in screen.app.screen._compositor.render_strips():
                assert strip.cell_length == 80
                assert strip.text.isprintable(), repr(strip.text)

        await sound()
        heads = screen.lines()[1][:60]
        for number in range(len(HOSTILE)):
            await screen.press(*(["j"] if number else []))
            await sound()
            assert screen.lines()[1][:60] == heads
            assert screen.lines()[-1] == " ⏎ open  / filter  s state  n note  i read cores  ? keys"
            assert all(line[2:].startswith("# known") for line in screen.lines()[2 : 2 + min(10, len(HOSTILE))])
        for number in walked:
            await screen.press("home", *["j"] * number, "enter")
            await sound()
            for key in ("2", "3", "4", "5", "enter", "2", "3", "4", "5", "6", "7", "8", "9", "y", "escape", "escape"):
                await screen.press(key)
                await sound()
                assert not screen.app._exit
            for y in clicked:
                await screen.pilot.click(offset=(12, y))
            await screen.settle()
            assert not screen.app._exit
            while not isinstance(screen.app.screen, InboxPlace):
                screen.app.pop_screen()
            await screen.settle()
        await screen.press("home", "space", "end", "space", "d")
        await sound()

    drive(store, script)


def test_reading_cores_from_the_interface(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "cores"
    folder.mkdir()
    (folder / "core.1").write_bytes(b"")
    (folder / "core.2").write_bytes(b"no core" * 100)

    async def script(screen: Screen) -> None:
        await screen.press("i")
        await screen.fill(str(folder), "enter")
        reading = screen.app.reading
        assert reading is not None
        reading.toggle_pause()
        reading.toggle_pause()
        for _ in range(600):
            if not reading.running:
                break
            await asyncio.sleep(0.1)
        await screen.until("done in")
        assert reading.progress.status == 1
        assert (reading.progress.done, reading.progress.total, reading.progress.failed) == (2, 2, 2)
        assert "core.2:" in screen.text
        assert "2 of 2 cores" in screen.text
        await screen.press("escape", "i")
        await screen.fill("/nowhere", "enter")
        await screen.told("/nowhere is not there")

    drive(store, script, size=(120, 36), store=f"sqlite:///{tmp_path / 'triage.db'}")


def test_the_interface_is_not_loaded_by_other_verbs() -> None:
    code = "import triage.cli.list, triage.cli.mark, sys, json; print(json.dumps([m for m in sys.modules]))"
    loaded = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )
    assert not {"textual", "rich", "aiohttp"} & set(loaded)


def test_a_regression_is_told_first(store: Store) -> None:
    fill(store, whole())
    (cluster,) = store.clusters()
    store.mark(cluster.id, Decision(state=State.FIXED, at=at(-10)))
    assert store.cluster(cluster.id).flags == (Flag.REGRESSED,)

    async def script(screen: Screen) -> None:
        assert screen.lines()[2].startswith("▸ ▲ REGRESSED")
        assert "! crashed again on web-1 at 2026-01-01T00:00:00Z" in screen.text

    drive(store, script)
