"""Walks through an interpreter's memory alone, which is full of pointers that lead anywhere."""

from __future__ import annotations

import random
import shutil
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.fuzz.mutate import Patch, mutated, patches
from tests.fuzz.targets.base import Target
from tests.lab import perl, python, ruby
from tests.lab.interpreters import RUBIES, Program, ensure
from tests.lab.php import CASES, Interpreter, make
from tests.unit.makephp import BASE, PhpMemory
from tests.unit.memory import Bytes
from triage.corefile import CoreFile, open_core
from triage.corefile.memory import CoreMemory, Words
from triage.model import ScriptFrame
from triage.runtimes.perl import PerlProcess
from triage.runtimes.perl.find import Perl, find_perl
from triage.runtimes.php.frames import StackReader
from triage.runtimes.php.globals import Php, find_php
from triage.runtimes.php.heap import Shape, calibrate, check_heap
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.values import Values
from triage.runtimes.protocol import Interpreter as Runtime
from triage.runtimes.python import PythonProcess
from triage.runtimes.python.find import Python, find_python
from triage.runtimes.ruby import RubyProcess
from triage.runtimes.ruby.find import Ruby, find_ruby
from triage.symbols import Finder


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


class Patched(CoreMemory):
    """A core's memory with other bytes at some places."""

    laid: Sequence[Patch] = ()
    _low = _high = 0

    @classmethod
    def over(cls, memory: CoreMemory) -> Patched:
        """The same memory, nothing changed yet."""
        copy = cls.__new__(cls)
        copy.__dict__.update(memory.__dict__)
        return copy

    def lay(self, laid: Sequence[Patch]) -> None:
        """Other bytes from now on, instead of those before."""
        self.laid = laid
        self._low = min(at for at, _ in laid)
        self._high = max(at + len(raw) for at, raw in laid)

    def read(self, address: int, size: int) -> bytes | None:
        """See CoreMemory."""
        raw = super().read(address, size)
        if raw is None or address + size <= self._low or address >= self._high:
            return raw
        changed = bytearray(raw)
        for at, new in self.laid:
            low, high = max(at, address), min(at + len(new), address + size)
            if low < high:
                changed[low - address : high - address] = new[low - at : high - at]
        return bytes(changed)

    @contextmanager
    def words(self, address: int) -> Iterator[Words | None]:
        """See CoreMemory."""
        with super().words(address) as words:
            if words is None or words.end <= self._low or words.start >= self._high:
                yield words
                return
            changed = bytearray(words.raw)
            for at, new in self.laid:
                low, high = max(at, words.start), min(at + len(new), words.end)
                if low < high:
                    changed[low - words.start : high - words.start] = new[low - at : high - at]
            with memoryview(changed) as raw, raw.cast("Q") as view:
                yield Words(words.start, raw, view)


class Patient(Target):
    """A core of a real interpreter whose memory is changed around what its stack or heap is read from."""

    share = 5

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._open = ExitStack()
        path, root = self.make(folder / self.name)
        self.core: CoreFile = self._open.enter_context(open_core(path))
        self.finder = Finder(root)
        self.core.memory.use_files(self.finder.backing(self.core.modules))
        self.hot = self.begin()
        self._like = b"".join(self.core.memory.read(area.start, min(len(area), 4096)) or b"" for area in self.hot)
        self.memory = Patched.over(self.core.memory)
        object.__setattr__(self.core, "memory", self.memory)

    @abstractmethod
    def make(self, folder: Path) -> tuple[Path, Path | None]:
        """The core, and the root folder its files are in."""

    @abstractmethod
    def begin(self) -> list[range]:
        """The addresses worth changing; called before anything is."""

    @abstractmethod
    def read(self) -> str:
        """Read what is there now."""

    def run(self, chance: random.Random) -> str:
        """See Target."""
        area = chance.choice(self.hot)
        self.memory.lay([(area.start + at, raw) for at, raw in patches(len(area), chance, (), self._like)])
        return self.read()

    def close(self) -> int:
        """See Target."""
        self._open.close()
        return 0


class HeapTarget(Patient):
    """The check of PHP's own heap: its record, the page map, the free lists and the blocks."""

    name = "heap"

    def make(self, folder: Path) -> tuple[Path, Path | None]:
        """See Patient."""
        folder.mkdir()
        return make(next(case for case in CASES if case.name == "callbacks"), Interpreter((8, 2)), folder).core, None

    def begin(self) -> list[range]:
        """See Patient."""
        found = find_php(self.core, self.finder)
        assert isinstance(found, Php)
        self._layout = found.layout
        executor = found.address("executor_globals")
        assert executor is not None
        anchor = Reader(self.core.memory, self._layout).field(executor, "executor_globals", "vm_stack")
        assert anchor is not None
        self._anchor = anchor
        shape = calibrate(self.core.memory, anchor)
        assert isinstance(shape, Shape)
        main = shape.main
        return [range(main, main + 4096), range(main, main + 1024), range(main + 4096, main + (1 << 19))]

    def read(self) -> str:
        """See Patient."""
        reader = Reader(self.memory, self._layout)
        return check_heap(reader, calibrate(self.memory, self._anchor))[0].state


class Walk(Patient):
    """The stack and the facts of another interpreter."""

    def begin(self) -> list[range]:
        """See Patient."""
        self.find()
        frames = self.process().read().frames
        assert len(frames) > 3
        records = [range(frame.address, frame.address + 128) for frame in frames]
        # What the records lead to lies near them: code objects, names, tables.
        return [*records, *(range(one.start & ~0xFFF, (one.start & ~0xFFF) + 4096) for one in records[:4])]

    @abstractmethod
    def find(self) -> None:
        """Find the interpreter, before anything is changed."""

    @abstractmethod
    def process(self) -> Runtime:
        """The interpreter's reader, anew."""

    def frames(self) -> Sequence[ScriptFrame]:
        """The stack as it is now."""
        return self.process().read().frames

    def read(self) -> str:
        """See Patient."""
        frames = self.frames()
        assert len(frames) <= 1001
        return "frames" if frames else "none"


class PythonTarget(Walk):
    """CPython's stack; its modules, hundreds in each input, come with the whole cores."""

    name = "python"

    def make(self, folder: Path) -> tuple[Path, Path | None]:
        """See Patient."""
        folder.mkdir()
        case = next(case for case in python.CASES if case.name == "generators")
        return python.make(case, python.system_python(), folder).core, None

    def find(self) -> None:
        """See Walk."""
        found = find_python(self.core, self.finder)
        assert isinstance(found, Python)
        self._found = found

    def process(self) -> PythonProcess:
        """See Walk."""
        return PythonProcess(self.core, self.finder, self._found, script_frames=1000)

    def frames(self) -> Sequence[ScriptFrame]:
        """See Walk."""
        return self.process().stack().frames


class PerlTarget(Walk):
    """Perl."""

    name = "perl"

    def make(self, folder: Path) -> tuple[Path, Path | None]:
        """See Patient."""
        folder.mkdir()
        path = shutil.which("perl")
        assert path is not None, "apt install perl"
        return perl.make("nested", Program(path, (5, 0)), folder).core, None

    def find(self) -> None:
        """See Walk."""
        found = find_perl(self.core, self.finder)
        assert isinstance(found, Perl)
        self._found = found

    def process(self) -> Runtime:
        """See Walk."""
        return PerlProcess(self.core, self.finder, self._found, script_frames=1000)


class RubyTarget(Walk):
    """Ruby, of another Debian release."""

    name = "ruby"

    def make(self, folder: Path) -> tuple[Path, Path | None]:
        """See Patient."""
        folder.mkdir()
        made = ruby.make("nested", ensure(RUBIES[-1]), folder)
        return made.core, made.root

    def find(self) -> None:
        """See Walk."""
        found = find_ruby(self.core, self.finder)
        assert isinstance(found, Ruby)
        self._found = found

    def process(self) -> Runtime:
        """See Walk."""
        return RubyProcess(self.core, self.finder, self._found, script_frames=1000)
