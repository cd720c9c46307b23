"""A core held open, with its interpreter and, when first asked for, its whole crash record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from triage.config import Settings
from triage.corefile import CoreFile, open_core
from triage.errors import InputError
from triage.model import Crash
from triage.pipeline import Pipeline
from triage.runtimes import detect
from triage.runtimes.protocol import Interpreter
from triage.symbols import Finder


class Opened:
    """What questions are answered from. `note` says why there is no interpreter, where one was expected."""

    def __init__(self, core: CoreFile, finder: Finder, settings: Settings) -> None:
        self.core = core
        self.finder = finder
        self._settings = settings
        found = detect(core, finder, values=True)
        self.interpreter: Interpreter | None = None if isinstance(found, str) else found
        self.note: str | None = found if isinstance(found, str) else None

    @cached_property
    def crash(self) -> Crash:
        """The crash as `triage show` has it, with values.

        Raises:
            InputError: when the core cannot be triaged.
        """
        with Pipeline(replace(self._settings, values=True)) as pipeline:
            outcome = pipeline.triage(self.core.path)
        if outcome.crash is None:
            failure = outcome.failure
            raise InputError(failure.code if failure else "error", failure.message if failure else "not readable")
        return outcome.crash


@contextmanager
def opened(path: Path, settings: Settings) -> Iterator[Opened]:
    """Open a core for questions.

    Raises:
        InputError: when it is no core.
    """
    finder = Finder(settings.sysroot, settings.debug_dirs)
    with open_core(path) as core:
        core.memory.use_files(finder.backing(core.modules))
        yield Opened(core, finder, settings)
