"""What is fuzzed: each target takes one input drawn from chance and says in a word what became of it.

A target raises when something happened that must not. A core's way is the program's own: the pipeline,
the record as JSON and back, every page that is written about it, the store.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from tests.fuzz.mutate import mutated, patches
from tests.unit import makecore
from tests.unit.makecore import Core, good
from tests.unit.makephp import BASE, PhpMemory
from tests.unit.memory import Bytes
from triage import redact
from triage.config import Settings
from triage.corefile import elf, notes, open_core
from triage.corefile.sources import apport, streams
from triage.corefile.sources.unpack import Bounds, write_sparse
from triage.errors import InputError, UsageError
from triage.explain import Context, write_page
from triage.gdb import mi
from triage.gdb.session import GdbFailed
from triage.model import Outcome
from triage.pipeline import Pipeline
from triage.query import parse_query
from triage.report.bug_report import bug_report
from triage.report.crash_text import crash_lines
from triage.report.explain_text import page_lines
from triage.runtimes.php.frames import StackReader
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.values import Values
from triage.store import InputStamp, open_store
from triage.text import clean
from triage.wire import crash_from_json, crash_to_json

_STORED = 2000
_LONG_AGO = 1_700_000_000


class Target(ABC):
    """One target. `share` is how many inputs it takes in a turn, `cores` how many cores an input is."""

    name: ClassVar[str]
    share: ClassVar[int] = 1
    cores: ClassVar[int] = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def run(self, chance: random.Random) -> str:
        """Take one input."""

    def close(self) -> int:
        """End; the number of records that were lost."""
        return 0


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


class CoreTarget(Target):
    """Small cores made byte by byte, then broken: headers, notes, mappings, a stack."""

    name, share, cores = "core", 60, 1

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._whole = Whole(folder, gdb=False)
        self._seeds = [core.build() for core in seeds()]
        self._file = folder / "small.core"

    def run(self, chance: random.Random) -> str:
        """See Target."""
        seed = chance.choice(self._seeds)
        heads = min(len(seed), 3000)
        self._file.write_bytes(mutated(seed, chance, [range(64), range(64, 500), range(heads), range(len(seed))]))
        return self._whole.take(self._file)

    def close(self) -> int:
        """See Target."""
        return self._whole.close()


def seeds() -> list[Core]:
    """Good cores of several kinds."""
    base = good()
    wide = replace(base, notes=(*base.notes, *(makecore.prstatus(5000 + n, 0, {"rip": n}) for n in range(40))))
    arm = replace(
        base,
        machine=makecore.EM_AARCH64,
        notes=(makecore.prstatus(9, 11, {"pc": 0x1000, "sp": makecore.STACK}, makecore.AARCH64), *base.notes[1:5]),
    )
    here = good(arguments=(b"php", b"-d", b"x=\x1b[2J\xe2\x80\xae<b>[red]|`@team`", b"--password=hunter2"))
    return [base, wide, arm, here]


class RealTarget(Target):
    """Cores of real interpreters, broken in place: headers and notes, the stack, the heap, everything."""

    name, share, cores = "real", 1, 1

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._whole = self._make_whole()
        self._cores = [Real(path, folder / f"{self.name}-{at}.core") for at, path in enumerate(real_cores(folder))]

    def _make_whole(self) -> Whole:
        place = self.folder / "real"
        place.mkdir()
        return Whole(place, gdb=False)

    def run(self, chance: random.Random) -> str:
        """See Target."""
        core = chance.choice(self._cores)
        with core.broken(chance) as path:
            return self._whole.take(path)

    def close(self) -> int:
        """See Target."""
        return self._whole.close()


class GdbTarget(RealTarget):
    """The same with GDB."""

    name, share, cores = "gdb", 1, 1

    def _make_whole(self) -> Whole:
        place = self.folder / "with-gdb"
        place.mkdir()
        return Whole(place, gdb=True)


def real_cores(folder: Path) -> list[Path]:
    """Crashes of PHP, and of this Python, made once for all targets of a worker."""
    from tests.lab.native import python_crash
    from tests.lab.php import CASES, Interpreter, make

    place = folder / "made"
    if not place.exists():
        place.mkdir()
        for name in ("generator", "callbacks", "eval"):
            case = next(case for case in CASES if case.name == name)
            (place / name).mkdir()
            shutil.move(make(case, Interpreter((8, 2)), place / name).core, place / f"{name}.core")
        (place / "python").mkdir()
        shutil.move(python_crash(place / "python"), place / "python.core")
    return sorted(place.glob("*.core"))


class Real:
    """A working copy of a core, changed in place and restored."""

    def __init__(self, core: Path, copy: Path) -> None:
        shutil.copyfile(core, copy)
        self.path = copy
        self._size = copy.stat().st_size
        with open_core(core) as opened:
            raw = core.read_bytes()
            header = elf.read_header(raw)
            segments = list(elf.read_segments(raw, header))
            first = min(s.offset for s in segments if s.type == elf.PT_LOAD and s.file_size)
            written = [
                range(s.offset, s.offset + s.file_size)
                for s in segments
                if s.type == elf.PT_LOAD and s.flags & elf.PF_W and s.file_size
            ]
            assert opened.notes.threads
        self._hot: list[range] = [range(first), range(64), *written, *written[-1:], *written[:1]]
        self._like = raw[written[0].start : written[0].start + 65536]

    def broken(self, chance: random.Random) -> _Broken:
        """The file with changes, for the length of a `with` block."""
        made = patches(self._size, chance, [chance.choice(self._hot)], self._like)
        return _Broken(self.path, made, chance.randrange(self._size) if chance.random() < 0.05 else None)


@dataclass(slots=True)
class _Broken:
    path: Path
    patches: list[tuple[int, bytes]]
    cut: int | None
    saved: list[tuple[int, bytes]] | None = None

    def __enter__(self) -> Path:
        with self.path.open("r+b") as file:
            if self.cut is not None:
                file.seek(self.cut)
                self.saved = [(self.cut, file.read())]
                file.truncate(self.cut)
                return self.path
            self.saved = []
            for at, raw in self.patches:
                file.seek(at)
                self.saved.append((at, file.read(len(raw))))
                file.seek(at)
                file.write(raw)
        return self.path

    def __exit__(self, *_: object) -> None:
        with self.path.open("r+b") as file:
            for at, raw in reversed(self.saved or []):
                file.seek(at)
                file.write(raw)


class Raw(Target):
    """A parser of bytes: seeds, mutated."""

    share = 20

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seeds: Sequence[bytes] = self.begin()

    @abstractmethod
    def begin(self) -> Sequence[bytes]:
        """Good inputs."""

    @abstractmethod
    def take(self, data: bytes) -> str:
        """Parse one input."""

    def run(self, chance: random.Random) -> str:
        """See Target."""
        return self.take(mutated(chance.choice(self.seeds), chance))


class NotesTarget(Raw):
    """Notes of a core, without a core round them."""

    name = "notes"

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        return [b"".join(core.notes) for core in seeds()]

    def take(self, data: bytes) -> str:
        """See Raw."""
        for align in (4, 8):
            for machine in ("x86_64", "aarch64", None):
                found = notes.decode(elf.read_notes(data, align), machine)
        elf.build_id(data)
        return "read" if found.threads else "empty"


class StackTarget(Target):
    """PHP's frames, functions and values in a few kB of memory: pointers lead anywhere, also in circles."""

    name, share = "stack", 5
    _versions = ("7.0.33", "7.4.33", "8.2.36", "8.4.1")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._made = [_php(version) for version in self._versions]

    def run(self, chance: random.Random) -> str:
        """See Target."""
        memory, top, table = chance.choice(self._made)
        data = mutated(bytes(memory._data), chance)
        reader = Reader(Bytes({BASE: data + bytes(64)}), memory.layout)
        walk = StackReader(reader, opline_before_exception=None, values=True).walk(top, limit=1000)
        values = Values(reader)
        for element in list(reader.elements(table))[:50]:
            values.preview("x", element.value)
            values.type(element.value)
        assert len(walk.frames) <= 1001
        return "frames" if walk.frames else "none"


def _php(version: str) -> tuple[PhpMemory, int, int]:
    memory = PhpMemory(version)
    shop = memory.class_("Shop\\Cart")
    inner = memory.function("total", scope=shop)
    outer = memory.function(None, "/srv/www/index.php")
    bottom = memory.frame(outer, top=True)
    middle = memory.frame(memory.internal("array_map", 0x1234), bottom, line=None)
    top = memory.frame(inner, middle, line=1)
    table = memory.table([("a", "IS_LONG", 1), ("b", "IS_STRING", memory.string("two")), (None, "IS_ARRAY", BASE)])
    return memory, top, table


class MiTarget(Raw):
    """GDB's records."""

    name = "mi"

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        return [
            b'^done,threads=[{id="1",frame={level="0",args=[]}},{id="2"}]',
            b'12^error,msg="No symbol \\"x\\" in \\\\ [current {context"',
            b'~"TRIAGE-ANSWER {\\"threads\\": [{\\"depth\\": 1}]}\\n"',
            b'*stopped,reason="signal-received",frame={addr="0x0",func="main",args=[{name="a",value="\\033[2J"}]}',
            b'=thread-group-added,id="i1"',
            b'^done,a=[b="1",c={d=[],e="\\346\\227\\245"}]',
            b"(gdb) ",
        ]

    def take(self, data: bytes) -> str:
        """See Raw."""
        import warnings

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pygdbmi's own, about odd characters
                return mi.parse(data.decode("utf-8", "replace").replace("\n", " ")).type
        except mi.BrokenRecord:
            return "refused"


class ApportTarget(Raw):
    """Reports of apport, and the stream in them."""

    name = "apport"

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        import base64
        import gzip

        packed = gzip.compress(good().build())
        lines = b"\n".join(b" " + base64.b64encode(packed[at : at + 300]) for at in range(0, len(packed), 300))
        return [
            b"ProblemType: Crash\nDate: Mon Mar  2 10:00:00 2026\nExecutablePath: /usr/bin/php8.2\n"
            b"ProcCmdline: php -d x=1 /srv/a.php\nProcStatus:\n Name: php\n Pid:\t17\n Uid:\t33\t33\n"
            b"CoreDump: base64\n" + lines + b"\nSignal: 11\n"
        ]

    def take(self, data: bytes) -> str:
        """See Raw."""
        target = self.folder / "apport.core"
        try:
            origin, kind, stream = apport.read_report(io.BytesIO(data))
            assert origin.kind == "apport"
            target.write_bytes(b"")
            amiss = write_sparse(streams.unpacked(stream, kind), target, Bounds(largest=64 << 20, reserve=0))
            return "cut" if amiss else "whole"
        except InputError as error:
            return error.code


class QueryTarget(Raw):
    """The filter language."""

    name = "query"

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        return [
            b'state:new,known signal:SIGSEGV !script:"/srv/a b.php" last:24h sort:count Cart',
            b"count:>10 first:2026-01-01..2026-02-01 version:8.2",
            b'"two words" !x:y,"z" since:7d',
        ]

    def take(self, data: bytes) -> str:
        """See Raw."""
        try:
            parse_query(data.decode("utf-8", "replace"))
            return "query"
        except UsageError:
            return "refused"


class TextTarget(Raw):
    """What makes foreign text harmless: cleaning, and hiding secrets."""

    name, share = "text", 2

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        return [
            b"mysql://user:p@ss@host/db?token=abc&x=1 --password=hunter2 Authorization: Bearer aaaaaaaaaaaaaaaaaaa1",
            b"/shop/cart?session_id=1#x \x1b[31m\xe2\x80\xae\x9b0m " * 20,
            b"a-1" * 3000,
            b"://" * 3000 + b"@",
        ]

    def take(self, data: bytes) -> str:
        """See Raw."""
        text = data.decode("utf-8", "surrogateescape")
        assert clean(text).isprintable()
        assert len(clean(text, limit=50)) <= 50
        redact.text(text)
        redact.uri(text)
        redact.setting("x", text)
        redact.command_line(["php", *text.split(" ")])
        return "text"


TARGETS: dict[str, Callable[[Path], Target]] = {
    target.name: target
    for target in (
        CoreTarget, RealTarget, GdbTarget, NotesTarget, StackTarget, MiTarget, ApportTarget, QueryTarget, TextTarget
    )
}  # fmt: skip
