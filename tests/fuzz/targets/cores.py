"""Whole core files: small ones made byte by byte, and those of real interpreters."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from tests.fuzz.mutate import mutated, patches
from tests.fuzz.targets.base import Target
from tests.fuzz.targets.whole import Whole
from tests.unit import makecore
from tests.unit.makecore import Core, good
from triage.corefile import elf, open_core


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
