"""Typed lines answered: php-* commands by our own answers, everything else by a GDB on the core."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from triage.config import Settings
from triage.debug.answers import Answers
from triage.debug.opened import opened
from triage.errors import InputError, TriageError
from triage.gdb.locate import find_gdb
from triage.gdb.session import GdbFailed, GdbSession
from triage.gdb.target import target_of
from triage.text import clean


class DebugConsole:
    """One core under questions, without a terminal of its own. Use as a context manager, from one thread.

    GDB is started when a line is first meant for it.

    Raises:
        InputError: on entry, when the core cannot be opened.
    """

    def __init__(self, core: Path, settings: Settings) -> None:
        self._path, self._settings = core, settings
        self._stack = ExitStack()
        self._session: GdbSession | None = None

    def __enter__(self) -> Self:
        if not self._path.is_file():
            raise InputError("not-there", f"the core {self._path} is gone")
        self._core = self._stack.enter_context(opened(self._path, self._settings))
        self._answers = Answers(self._core)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            self._session.close()
        self._stack.close()

    @property
    def commands(self) -> list[tuple[str, str]]:
        """(command with its arguments, what it does) of our own commands."""
        return [(f"{name} {item.usage}".rstrip(), item.summary) for name, item in self._answers.commands.items()]

    def interrupt(self) -> None:
        """Ctrl-C; may be called from another thread."""
        if self._session is not None:
            self._session.interrupt()

    def ask(self, line: str) -> list[str]:
        """The answer to one line, safe to show. Never raises for what is typed: a refusal is an answer."""
        words = line.split()
        if not words:
            return []
        try:
            if words[0] in self._answers.commands:
                return self._answers.answer(words[0], self._evaluated(words))
            return [clean(text.expandtabs()) for text in self._gdb().console(line).splitlines()]
        except TriageError as error:
            return [clean(text) for text in (error.message, error.help) if text]

    def _evaluated(self, words: list[str]) -> list[str]:
        """An address may be any expression of GDB's: `php-zval $rdi`."""
        usage = self._answers.commands[words[0]].usage
        if "ADDRESS" not in usage or len(words) < 2 or words[1][:1].isdigit():
            return words[1:]
        try:
            printed = self._gdb().console(f"output/x (unsigned long)({' '.join(words[1:])})")
        except GdbFailed:
            return words[1:]
        return [printed.strip()]

    def _gdb(self) -> GdbSession:
        if self._session is None:
            self._session = GdbSession(find_gdb(self._settings.gdb), self._settings.limits)
        if not self._session.running:
            self._load(self._session)
        return self._session

    def _load(self, session: GdbSession) -> None:
        core = self._core
        target = target_of(core.core, core.finder)
        reading = core.interpreter.read() if core.interpreter is not None else None
        session.load(target, reading.unwinding if reading is not None else None)
