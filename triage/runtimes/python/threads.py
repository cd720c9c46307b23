"""The threads that run Python: which native thread each is, its name, and who holds the GIL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from triage.corefile import CoreFile
from triage.runtimes.python.objects import Objects

_MOST = 4096
_MOST_INTERPRETERS = 256


@dataclass(frozen=True, slots=True)
class PyThread:
    """One PyThreadState at `address`; `native` is the thread's id in the core, `None` where it is not known.

    `ident` is what `threading.get_ident()` gives, on Linux the address of the C library's record.
    """

    address: int
    ident: int
    native: int | None


@dataclass(frozen=True, slots=True)
class Lock:
    """The GIL: the thread state that holds it, `None` when it is free; `free_threaded` when there is none in use."""

    holder: int | None
    free_threaded: bool = False


def threads(core: CoreFile, objects: Objects, interpreter: int) -> tuple[PyThread, ...]:
    """Every thread state of every interpreter, those of the main interpreter first."""
    by_base = {state.registers.get("fs_base"): state.id for state in core.notes.threads}
    ids = {state.id for state in core.notes.threads}
    found = []
    for address in _states(objects, interpreter):
        ident = objects.field(address, "thread_state", "thread_id") or 0
        own = objects.field(address, "thread_state", "native_thread_id")
        # The number may be one of the container's own; the C library's record is the sure sign.
        native = by_base.get(ident) if ident else None
        found.append(PyThread(address, ident, native or (own if own in ids else None)))
    return tuple(found)


def _states(objects: Objects, interpreter: int) -> Iterator[int]:
    for owner in _interpreters(objects, interpreter):
        at = objects.pointer(owner, "interpreter_state", "threads_head")
        seen: set[int] = set()
        while at is not None and at not in seen and len(seen) < _MOST:
            if objects.field(at, "thread_state", "interp") != owner:
                break
            seen.add(at)
            yield at
            at = objects.pointer(at, "thread_state", "next")


def _interpreters(objects: Objects, first: int) -> list[int]:
    """The main interpreter, then the others. The list begins with the newest, so it is walked from its head."""
    found, at = [first], objects.pointer(first, "interpreter_state", "next")
    while at is not None and at not in found and len(found) < _MOST_INTERPRETERS:
        found.append(at)
        at = objects.pointer(at, "interpreter_state", "next")
    return found


def names(objects: Objects, modules: Mapping[str, int]) -> dict[int, str]:
    """Names of `threading` by ident; empty when that module was never imported."""
    namespace = objects.field(modules["threading"], "module", "md_dict") if "threading" in modules else None
    found = {}
    for key, thread in objects.items(objects.get(namespace, "_active")):
        ident = objects.integer(key)
        name = objects.string(objects.attribute(thread, "_name"))
        if ident is not None and name:
            found[ident] = name
    return found


def lock(objects: Objects, runtime: int, interpreter: int) -> Lock | None:
    """Who holds the GIL; `None` where that cannot be read."""
    if objects.layout.has("runtime_state", "gil_locked"):  # up to 3.11 there is one for all interpreters
        locked = objects.field(runtime, "runtime_state", "gil_locked")
        holder = objects.field(runtime, "runtime_state", "gil_holder")
    else:
        gil = objects.pointer(interpreter, "interpreter_state", "gil")
        if gil is None:
            return None
        if objects.free_threaded and objects.field(gil, "gil", "enabled") == 0:
            return Lock(None, free_threaded=True)
        locked, holder = objects.field(gil, "gil", "locked"), objects.field(gil, "gil", "last_holder")
    if locked is None or holder is None or locked not in (0, 1):
        return None
    return Lock(holder if locked and holder else None)
