"""The program's own way with a core: the pipeline, the record as JSON and back, every page about it, the store."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from triage.config import Settings
from triage.explain import Context, write_page
from triage.gdb.session import GdbFailed
from triage.model import Outcome
from triage.pipeline import Pipeline
from triage.report.bug_report import bug_report
from triage.report.crash_text import crash_lines
from triage.report.explain_text import page_lines
from triage.store import InputStamp, open_store
from triage.wire import crash_from_json, crash_to_json

_STORED = 2000
_LONG_AGO = 1_700_000_000


class NoGdb:
    """Stands where GDB's sessions stand, and never has an answer."""

    isolation = None

    def of(self, program: object) -> NoGdb:
        """The session for any program."""
        return self

    def examine(self, *_: object, **__: object) -> NoReturn:
        """Refuse."""
        raise GdbFailed("not asked")


class Whole:
    """The program's way with a core file, from the pipeline into the store."""

    def __init__(self, folder: Path, *, gdb: bool) -> None:
        self._folder = folder
        self._pipeline = Pipeline(Settings())
        if not gdb:
            self._pipeline._lanes._sessions = NoGdb()  # type: ignore[assignment]
        self._number = 0
        self._in = self._turn = 0
        self.lost = 0
        self._store = self._fresh()

    def _fresh(self) -> Any:
        path = self._folder / f"store-{self._number}" / "triage.db"
        path.parent.mkdir(mode=0o700)
        return open_store(f"sqlite:///{path}")

    def take(self, path: Path) -> str:
        """Triage the file; every fourth one is told in every way there is, every fourth one kept."""
        os.utime(path, (_LONG_AGO, _LONG_AGO))  # a young one might still be being written, and is waited for
        outcome = self._pipeline.triage(path)
        self._turn += 1
        word = tell(outcome, pages=self._turn % 4 == 1)
        if self._turn % 4 == 2:
            self._keep(outcome)
        return word

    def _keep(self, outcome: Outcome) -> None:
        self._in += 1
        self._store.save(
            replace(outcome, core=f"/{self._in}"), InputStamp(size=self._in, mtime_ns=self._in, inode=self._in)
        )
        if self._in == _STORED:
            self._count()
            self._store.close()
            shutil.rmtree(self._folder / f"store-{self._number}")
            self._number, self._in = self._number + 1, 0
            self._store = self._fresh()

    def _count(self) -> None:
        kept = len(self._store.failures()) + sum(
            self._store.seen(f"/{at}", InputStamp(size=at, mtime_ns=at, inode=at)) is not None
            for at in range(1, self._in + 1)
        )
        self.lost += self._in - kept

    def close(self) -> int:
        """Count what the store has kept."""
        self._count()
        self._store.close()
        self._pipeline.__exit__(None, None, None)
        return self.lost


def tell(outcome: Outcome, *, pages: bool = True) -> str:
    """An outcome as JSON and back, and as text, which holds no character that moves a cursor."""
    crash = outcome.crash
    if crash is None:
        assert outcome.failure is not None
        return outcome.failure.code
    defects = [warning for warning in crash.warnings if "defect in triage" in warning]
    assert not defects, defects
    again = crash_from_json(json.loads(json.dumps(crash_to_json(crash))))
    assert again.id == crash.id
    assert len(again.threads) == len(crash.threads)
    if not pages:
        return crash.status.value
    lines = [line.text for line in crash_lines(crash, details=True)]
    lines += [line.text for line in page_lines(write_page(crash, Context()))]
    lines += bug_report(crash).splitlines()
    assert all(line.isprintable() or line.replace("\t", "").isprintable() for line in lines)
    return crash.status.value
