"""Modules as JSON and back: what wire.py hands here, and the same as text for who needs no more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from triage.model import Module, Symbols

Json = dict[str, Any]
A = TypeVar("A")
B = TypeVar("B")


def module_to_json(module: Module) -> Json:
    """One module; addresses are `0x…` text."""
    return {
        "path": module.path,
        "build_id": module.build_id,
        "start": hex(module.start),
        "end": hex(module.end),
        "symbols": module.symbols.value,
        "base": hex(module.base),
        "deleted": module.deleted,
    }


def modules_text(modules: Iterable[Module]) -> str:
    """`modules` of the crash object as text: all but the addresses of a module is made once for all processes."""
    return f"[{','.join(map(_module_text, modules))}]"


def _module_text(module: Module) -> str:
    path, build, start, end, symbols, base, deleted = module
    before, between, after = _module_parts(path, build, symbols, deleted)
    return f'{before}"start":"{hex(start)}","end":"{hex(end)}",{between}"base":"{hex(base)}"{after}'


@lru_cache(maxsize=4096)
def _module_parts(path: str, build: str | None, symbols: Symbols, deleted: bool) -> tuple[str, str, str]:  # noqa: FBT001
    """The texts before, between and after a module's addresses."""
    first = f'{{"path":{json.dumps(path)},"build_id":{json.dumps(build)},'
    return first, f'"symbols":{json.dumps(symbols.value)},', f',"deleted":{json.dumps(deleted)}}}'


def module_from_json(record: Mapping[str, Any]) -> Module:
    """What `module_to_json` wrote."""
    return Module(
        path=record["path"],
        build_id=record["build_id"],
        start=unhex(record["start"]),
        end=unhex(record["end"]),
        symbols=Symbols(record["symbols"]),
        base=unhex(record["base"]),
        deleted=record.get("deleted", False),
    )


def unhex(text: str) -> int:
    """An address of a record."""
    return int(text, 16)


def maybe(convert: Callable[[A], B], value: A | None) -> B | None:
    """What is missing stays missing."""
    return None if value is None else convert(value)
