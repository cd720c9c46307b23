"""Every screen as text, at two sizes: with nothing, one crash, many, broken cores, and a broken store.

`pytest tests/tui/test_tui_golden.py --write-golden` writes the files anew; look at what changed before you commit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tui.driver import Screen, drive, store_at
from tests.tui.samples import many, one, partial
from triage.errors import TriageError
from triage.model import Cluster
from triage.query import Query
from triage.store import Store

GOLDEN = Path(__file__).parent / "golden"
SIZES = ((80, 24), (120, 36))

# What is pressed, and the name of the picture taken then.
WALKS: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "empty": (
        ((), "inbox"),
        (("question_mark",), "help"),
        (("escape", "slash"), "filter"),
        (("escape", "i"), "read"),
    ),
    "one": (
        ((), "inbox"),
        (("enter",), "cluster"),
        (("2",), "cluster-stack"),
        (("3",), "cluster-correlations"),
        (("4",), "cluster-timeline"),
        (("5",), "cluster-crashes"),
        (("6",), "cluster-bugs"),
        (("1", "w"), "cluster-evidence"),
        (("enter",), "crash"),
        (("o",), "crash-code"),
        (("2",), "crash-explained"),
        (("3",), "crash-request"),
        (("4",), "crash-php"),
        (("5",), "crash-settings"),
        (("6",), "crash-heap"),
        (("7",), "crash-registers"),
        (("8",), "crash-modules"),
        (("9",), "crash-about"),
        (("y",), "crash-copy"),
        (("escape", "b"), "bug"),
    ),
    "many": (
        ((), "inbox"),
        (("space", "j", "space", "d"), "compare"),
        (("e",), "compare-equal"),
        (("escape", "s"), "state"),
        (("k",), "state-known"),
        (("escape", "n"), "note"),
        (("escape", "home", "enter", "4"), "cluster-timeline"),
        (("right_square_bracket", "1"), "cluster-next"),
        (("left_square_bracket", "5", "j", "enter"), "crash"),
        (("5",), "crash-settings"),
        (("question_mark",), "help"),
    ),
    "partial": (
        ((), "inbox"),
        (("enter",), "cluster"),
        (("enter",), "crash"),
        (("2",), "crash-explained"),
        (("tab", "tab", "tab"), "crash-more"),
        (("escape", "escape", "end"), "loose-preview"),
        (("enter",), "loose"),
        (("enter",), "loose-crash"),
    ),
    "error": (((), "inbox"),),
}  # fmt: skip
FILLED: dict[str, Callable[[Store], None]] = {
    "one": one,
    "many": many,
    "partial": partial,
    "empty": lambda store: None,
}


class Broken:
    """A store whose disk has gone."""

    def clusters(self, query: Query | None = None, *, members: bool = True) -> list[Cluster]:
        raise TriageError("the store cannot be read: [bold]disk[/] \x1b[31merror", help="Check the disk.")

    def revision(self) -> object:
        raise TriageError("the store cannot be read: [bold]disk[/] \x1b[31merror", help="Check the disk.")

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """A store a state, filled once."""
    made = {}
    for name, put in FILLED.items():
        made[name] = store_at(tmp_path_factory.mktemp(name))
        put(made[name])
    return made


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x36"])
@pytest.mark.parametrize("state", WALKS)
def test_every_screen_is_as_it_was(
    stores: dict[str, Store], state: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    write = request.config.getoption("--write-golden")
    reader = stores[state] if state in stores else Broken()
    differ: dict[str, tuple[str, str]] = {}

    async def script(screen: Screen) -> None:
        if state == "error":
            await screen.until("[bold]disk[/]")
        for keys, name in WALKS[state]:
            await screen.press(*keys)
            path = GOLDEN / f"{size[0]}x{size[1]}-{state}-{name}.txt"
            shown = "\n".join(screen.lines()) + "\n"
            assert len(screen.lines()) == size[1]
            if write:
                path.parent.mkdir(exist_ok=True)
                path.write_text(shown, encoding="utf-8")
            known = path.read_text(encoding="utf-8") if path.exists() else ""
            if known != shown:
                differ[path.name] = (shown, known)

    drive(reader, script, size=size)
    assert {name: shown for name, (shown, _) in differ.items()} == {
        name: known for name, (_, known) in differ.items()
    }


def test_no_picture_is_left_over() -> None:
    named = {f"{w}x{h}-{state}-{name}.txt" for w, h in SIZES for state, walk in WALKS.items() for _, name in walk}
    assert {path.name for path in GOLDEN.glob("*.txt")} == named
