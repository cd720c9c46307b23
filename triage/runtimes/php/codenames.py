"""Names of PHP's machine code in one process: as others alike had them, as learned of the builds, or read anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from triage.corefile import CoreFile
from triage.corefile.memory import CoreMemory
from triage.corefile.twins import Asked, Twins
from triage.runtimes.php.builds import Builds
from triage.runtimes.php.census import KnownNames, sooner
from triage.runtimes.php.globals import Php
from triage.runtimes.php.names import Names, native_names
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.records import Process
from triage.runtimes.php.twinnames import TwinNames
from triage.symbols import Finder


def code_names(
    core: CoreFile, finder: Finder, php: Php, builds: Builds | None, loop: int | None, asked: Callable[[str], Asked]
) -> Mapping[int, str]:
    """Names by absolute start address.

    `loop` is the interpreter's own, `asked` makes questions to processes that are like this one.
    """
    twins, read = finder.kept(Twins), partial(_names_in, finder, php, builds)
    whole = TwinNames(twins, core, asked("all names"), read)
    names = TwinNames(twins, core, asked("names"), lambda memory: sooner(read(memory)))
    return Names(names, whole, {loop: "execute_ex"} if loop is not None else {})


def _names_in(finder: Finder, php: Php, builds: Builds | None, memory: CoreMemory) -> Mapping[int, str]:
    """The names of built-in functions, by what is in this memory."""
    reader = Reader(memory, php.layout)
    executor = php.address("executor_globals")

    def anew() -> dict[int, str]:
        functions, classes = (
            reader.field(executor, "executor_globals", name) if executor else None
            for name in ("function_table", "class_table")
        )
        return native_names(reader, functions, classes, php.extensions)

    if builds is None:
        return anew()
    return finder.kept(KnownNames).names(Process(memory, reader, php, builds), anew)
