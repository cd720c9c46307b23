"""One folder an interpreter, all behind the Protocol in `protocol.py`."""

from __future__ import annotations

from collections.abc import Callable

from triage.corefile import CoreFile
from triage.runtimes import perl, php, python, ruby, unread
from triage.runtimes.first import first_read
from triage.runtimes.protocol import Interpreter
from triage.runtimes.unread import hint
from triage.symbols import Finder

__all__ = ["detect", "hint"]


def detect(
    core: CoreFile, finder: Finder, *, script_frames: int = 100_000, values: bool = False
) -> Interpreter | str | None:
    """The interpreter that runs in this core; `None` for a plain native program.

    A sentence when there is one but its state cannot be read. `values` asks for previews of
    arguments as well.
    """
    looks: tuple[Callable[[], Interpreter | str | None], ...] = (
        lambda: php.detect(core, finder, script_frames=script_frames, values=values),
        lambda: python.detect(core, finder, script_frames=script_frames),
        lambda: perl.detect(core, finder, script_frames=script_frames),
        lambda: ruby.detect(core, finder, script_frames=script_frames),
    )
    found = first_read(look() for look in looks)
    return found if found is not None else unread.detect(core, finder)
