"""A core held open, however it arrived, with its interpreter and, when first asked for, its whole crash record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from triage.config import Settings, cache_folder
from triage.corefile import CoreFile, open_core, sources
from triage.corefile.sources import Scratch, Trust
from triage.errors import InputError
from triage.model import Crash
from triage.pipeline import Pipeline, bounds_of, finder_of
from triage.runtimes import detect
from triage.runtimes.protocol import Interpreter
from triage.symbols import Finder


class Opened:
    """What questions are answered from.

    `input` is what was to be opened, `notes` are for people: what was amiss with it, and why there is no
    interpreter, where one was expected.
    """

    def __init__(
        self, core: CoreFile, finder: Finder, settings: Settings, source: sources.Opened, input: Path
    ) -> None:
        self.core = core
        self.finder = finder
        self.input = input
        self._settings = settings
        found = detect(core, finder, values=True)
        self.interpreter: Interpreter | None = None if isinstance(found, str) else found
        self.notes = (*source.remarks, *([found] if isinstance(found, str) else []))

    @cached_property
    def crash(self) -> Crash:
        """The crash as `triage show` has it, with values.

        Raises:
            InputError: when the core cannot be triaged.
        """
        with Pipeline(replace(self._settings, values=True)) as pipeline:
            outcome = pipeline.triage(self.input)
        if outcome.crash is None:
            failure = outcome.failure
            raise InputError(failure.code if failure else "error", failure.message if failure else "not readable")
        return outcome.crash


@contextmanager
def opened(path: Path, settings: Settings) -> Iterator[Opened]:
    """Open the core in one input for questions; a compressed one is unpacked for as long.

    Raises:
        InputError: when there is no core in it.
    """
    with (
        Scratch(cache_folder()) as scratch,
        sources.opened(path, scratch, Trust(everywhere=True), bounds_of(settings)) as source,
        open_core(source.file) as core,
    ):
        finder = finder_of(source, settings) or Finder(settings.sysroot, settings.debug_dirs)
        core.memory.use_files(finder.backing(core.modules))
        yield Opened(core, finder, settings, source, path)
