"""What is fuzzed: each target takes one input drawn from chance and says in a word what became of it.

A target raises when something happened that must not. `gdb` takes seconds an input and runs on request only;
`ruby` needs another Debian release.
"""

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.targets.base import Raw, Target
from tests.fuzz.targets.cores import CoreTarget, GdbTarget, RealTarget
from tests.fuzz.targets.files import DwarfTarget, ElfTarget, OriginTarget
from tests.fuzz.targets.parsers import (
    ApportTarget,
    KernelTarget,
    MiTarget,
    NotesTarget,
    QueryTarget,
    TextTarget,
)
from tests.fuzz.targets.walks import HeapTarget, PerlTarget, PythonTarget, RubyTarget, StackTarget

TARGETS: dict[str, Callable[[Path], Target]] = {
    target.name: target
    for target in (
        CoreTarget, RealTarget, GdbTarget, NotesTarget, StackTarget, HeapTarget, PythonTarget, PerlTarget, RubyTarget,
        ElfTarget, DwarfTarget, OriginTarget, MiTarget, ApportTarget, KernelTarget, QueryTarget, TextTarget,
    )
}  # fmt: skip
ON_REQUEST = ("gdb", "ruby")

__all__ = ["ON_REQUEST", "Raw", "TARGETS", "Target"]
