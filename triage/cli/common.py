"""What all verbs share: the options that hold everywhere, and where output goes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from triage.config import Settings, store_url
from triage.query import keys_help
from triage.store import Store, open_store
from triage.text import clean

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The options that hold everywhere, as one run was given them."""

    settings: Settings
    json: bool
    quiet: bool
    verbose: int
    color: bool
    terminal: bool
    plain: bool = False
    """Whether colours were turned off, as opposed to there being no terminal for them."""

    @property
    def store(self) -> str:
        """The store's URL."""
        return store_url(self.settings.store)

    @contextmanager
    def open_store(self) -> Iterator[Store]:
        """The store for the length of a `with` block."""
        with open_store(self.store, self.say) as store:
            yield store

    def say(self, text: str) -> None:
        """A remark for people, on stderr; silent with -q."""
        if not self.quiet:
            print(clean(text, keep_newlines=True), file=sys.stderr)


def program() -> str:
    """What the user types to run this: a checkout is run through its script."""
    return os.environ.get("TRIAGE_PROGRAM") or "triage"


def options(verb: Callable[..., R]) -> Callable[..., R]:
    """Give a verb the options that hold everywhere; it receives them as one `chosen` argument."""

    @click.option("--store", metavar="URL", help="Where crashes are kept: a file, sqlite:///…, postgresql://….")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    @click.option("--sysroot", type=click.Path(path_type=Path, exists=True, file_okay=False),
                  help="Folder that holds the crashed machine's files.")  # fmt: skip
    @click.option("--debug-dir", multiple=True, type=click.Path(path_type=Path, exists=True, file_okay=False),
                  help="Folder with .build-id/ files, beside /usr/lib/debug. May be repeated.")  # fmt: skip
    @click.option("--debuginfod", "debuginfod", multiple=True, metavar="URL", envvar="TRIAGE_DEBUGINFOD",
                  help="Ask this server for missing files; it learns which builds run here.")  # fmt: skip
    @click.option("--gdb", envvar="TRIAGE_GDB", metavar="PROGRAM", help="The GDB to use.")
    @click.option("-q", "--quiet", is_flag=True, help="No remarks and no progress on stderr.")
    @click.option("-v", "--verbose", count=True, help="More detail.")
    @click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR).")
    @wraps(verb)
    def with_options(
        *,
        store: str | None,
        as_json: bool,
        sysroot: Path | None,
        debug_dir: tuple[Path, ...],
        debuginfod: tuple[str, ...],
        gdb: str | None,
        quiet: bool,
        verbose: int,
        no_color: bool,
        **rest: Any,
    ) -> R:
        terminal = sys.stdout.isatty()
        chosen = Chosen(
            settings=Settings(store=store, sysroot=sysroot, debug_dirs=debug_dir, debuginfod=debuginfod, gdb=gdb),
            json=as_json,
            quiet=quiet,
            verbose=verbose,
            color=terminal and not no_color and not os.environ.get("NO_COLOR"),
            terminal=terminal,
            plain=no_color or bool(os.environ.get("NO_COLOR")),
        )
        return verb(chosen=chosen, **rest)

    return with_options


def keys_option(verb: Callable[..., R]) -> Callable[..., R]:
    """Give a verb that takes a query `--keys`, which lists what can be asked for and ends."""

    def show(context: click.Context, _option: click.Parameter, wanted: bool) -> None:  # noqa: FBT001
        if wanted:
            for key, example, meaning in keys_help():
                print(f"{key:<14} {meaning:<76} {example}".rstrip())
            context.exit()

    return click.option(
        "--keys", is_flag=True, is_eager=True, expose_value=False, callback=show, help="List the keys of a query."
    )(verb)


def print_json(value: object) -> None:
    """One JSON value on one line of stdout, in plain ASCII."""
    print(json.dumps(value, ensure_ascii=True), flush=True)


def print_rows(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Tab-separated values for programs: a header line, then a line a row; nothing is cut."""
    print("\t".join(header))
    for row in rows:
        print("\t".join("" if cell is None else clean(str(cell)) for cell in row))
