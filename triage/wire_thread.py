"""Threads and their frames as JSON and back: what wire.py hands here, and the same as text for who needs no more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from triage import wire_runtime
from triage.model import Argument, Frame, Thread
from triage.wire_module import maybe, unhex

Json = dict[str, Any]


def thread_to_json(thread: Thread) -> Json:
    """One thread and its frames, innermost first."""
    return {
        **{name: getattr(thread, name) for name in _OF_THREAD},
        "frames": [frame_to_json(frame) for frame in thread.frames],
    }


def thread_from_json(record: Mapping[str, Any]) -> Thread:
    """The exact inverse."""
    return Thread(
        id=record["id"],
        name=record["name"],
        crashed=record["crashed"],
        depth=record["depth"],
        truncated=record["truncated"],
        frames=tuple(frame_from_json(frame) for frame in record["frames"]),
    )


def frame_to_json(frame: Frame) -> Json:
    """One frame; addresses are `0x…` text. What tells its function is there only where it was looked for."""
    return {
        "kind": frame.kind,
        "function": frame.function,
        "class": frame.class_name,
        "module": frame.module,
        "offset": maybe(hex, frame.offset),
        "file": frame.file,
        "line": frame.line,
        "address": maybe(hex, frame.address),
        "inlined": frame.inlined,
        "note": frame.note,
        "call": frame.call,
        "opcode": frame.opcode,
        "arguments": wire_runtime.arguments_to_json(frame.arguments),
        "trust": frame.trust,
        **({"start": hex(frame.start)} if frame.start is not None else {}),
        **({"traits": list(frame.traits)} if frame.traits else {}),
    }


def frame_from_json(record: Mapping[str, Any]) -> Frame:
    """The exact inverse."""
    return Frame(
        kind=record["kind"],
        function=record["function"],
        class_name=record["class"],
        module=record["module"],
        offset=maybe(unhex, record["offset"]),
        file=record["file"],
        line=record["line"],
        address=maybe(unhex, record["address"]),
        inlined=record["inlined"],
        note=record["note"],
        call=record.get("call"),
        opcode=record.get("opcode"),
        arguments=wire_runtime.arguments_from_json(record.get("arguments", [])),
        trust=record.get("trust"),
        start=maybe(unhex, record.get("start")),
        traits=tuple(record.get("traits", ())),
    )


def threads_text(threads: Iterable[Thread]) -> str:
    """`threads` of the crash object as text: of a frame, all but its address is made once for all processes."""
    return f"[{','.join(map(_thread_text, threads))}]"


def _thread_text(thread: Thread) -> str:
    record: Json = {name: getattr(thread, name) for name in _OF_THREAD}
    return f'{_text(record)[:-1]},"frames":[{",".join(map(_frame_text, thread.frames))}]}}'


_OF_THREAD = ("id", "name", "crashed", "depth", "truncated")


def _frame_text(frame: Frame) -> str:
    address, arguments = frame[_ADDRESS], frame.arguments
    before, between, after = _frame_parts(frame[:_ADDRESS], frame[_ADDRESS + 1 : _ARGUMENTS], frame[_ARGUMENTS + 1 :])
    there = "null" if address is None else f'"{address:#x}"'
    return f"{before}{there}{between}{_arguments_text(arguments) if arguments else '[]'}{after}"


_ADDRESS, _ARGUMENTS = Frame._fields.index("address"), Frame._fields.index("arguments")


@lru_cache(maxsize=4096)
def _frame_parts(first: tuple[Any, ...], second: tuple[Any, ...], third: tuple[Any, ...]) -> tuple[str, str, str]:
    """The texts before, between and after a frame's address and arguments, from its other fields in their order."""
    record = frame_to_json(Frame._make((*first, None, *second, (), *third)))
    names = list(record)
    address, arguments = names.index("address"), names.index("arguments")
    before, between, after = (
        _text({name: record[name] for name in part})[1:-1]
        for part in (names[:address], names[address + 1 : arguments], names[arguments + 1 :])
    )
    return f'{{{before},"address":', f',{between},"arguments":', f",{after}}}"


def _arguments_text(arguments: Iterable[Argument]) -> str:
    return f"[{','.join([_argument_text(one.name, one.type, one.value) for one in arguments])}]"


@lru_cache(maxsize=1024)
def _argument_text(name: str | None, kind: str, value: str | None) -> str:
    return _text(wire_runtime.arguments_to_json((Argument(name=name, type=kind, value=value),))[0])


_text = json.JSONEncoder(separators=(",", ":")).encode
