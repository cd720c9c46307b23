"""Interpreters that are known by name and not read: their name, their version, where their own machine code is.

A crash of one has its native stack whole, with generated code marked, and a hint what can read the rest.
`kinds.json` is the list: `modules` matches the path of the file that holds the interpreter, `version` finds the
version in that path, `contents` in the file itself; `jit` tells that it makes machine code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from triage import redact
from triage.corefile import CoreFile
from triage.corefile.elf import PF_X
from triage.corefile.modules import VDSO, MappedModule
from triage.model import Runtime
from triage.runtimes.protocol import Inspection, Reading
from triage.symbols import Finder
from triage.symbols.environment import environment

_SCRIPT = re.compile(r"[^\0]+\.(?:lua|js|mjs|ts|tcl|r|jl|scm|lisp|exs?|erl|groovy|rkt|awk|m|py|pl|rb|php)", re.I)
_PAGE = "docs/runtimes.md says how a runtime is added"


@dataclass(frozen=True, slots=True)
class Kind:
    """One interpreter of the list."""

    name: str
    title: str
    modules: re.Pattern[str]
    version: re.Pattern[str] | None
    contents: re.Pattern[bytes] | None
    jit: bool
    hint: str | None


@cache
def kinds() -> tuple[Kind, ...]:
    """The list, in the order it is looked through."""
    text = resources.files(__package__ or "").joinpath("kinds.json").read_text("utf-8")
    return tuple(_kind(name, entry) for name, entry in json.loads(text).items())


def _kind(name: str, entry: Mapping[str, Any]) -> Kind:
    return Kind(
        name=name,
        title=entry["title"],
        modules=re.compile(entry["modules"]),
        version=re.compile(entry["version"]) if "version" in entry else None,
        contents=re.compile(entry["contents"].encode()) if "contents" in entry else None,
        jit=entry["jit"],
        hint=entry["hint"],
    )


def detect(core: CoreFile, finder: Finder) -> UnreadProcess | None:
    """An interpreter of the list in this core; the program's own file counts before its libraries."""
    first = [core.executable] if core.executable is not None else []
    for module in (*first, *core.modules):
        for kind in kinds():
            if kind.modules.search(module.path):
                return UnreadProcess(core, finder, module, kind)
    return None


def hint(core: CoreFile) -> str | None:
    """For a program of no kind known: that it looks like an interpreter, when it was given a script."""
    given = next((argument for argument in core.arguments[1:4] if _SCRIPT.fullmatch(argument)), None)
    if given is None or core.executable is None:
        return None
    name = core.executable.path.rsplit("/", 1)[-1]
    return (
        f"{name} was given the script {redact.text(given)}, so it seems to be an interpreter, one that triage does "
        f"not read: only the native stack is shown. {_PAGE}."
    )


class UnreadProcess:
    """One process of such an interpreter."""

    def __init__(self, core: CoreFile, finder: Finder, module: MappedModule, kind: Kind) -> None:
        self._core = core
        self._finder = finder
        self._module = module
        self._kind = kind
        self.name = kind.name

    def inspections(self) -> Mapping[str, Inspection]:
        """Nothing can be asked."""
        return {}

    def read(self) -> Reading:
        """Name, version, environment, ranges of generated code; no frames."""
        kind, core = self._kind, self._core
        other = f" {kind.hint[0].upper()}{kind.hint[1:]}." if kind.hint else ""
        given = next((argument for argument in core.arguments[1:] if _SCRIPT.fullmatch(argument)), None)
        code = self._generated() if kind.jit else ()
        return Reading(
            runtime=Runtime(
                name=kind.name,
                version=self._version(),
                script=redact.text(given) if given else None,
                jit=bool(code) if kind.jit else None,
                environment=redact.environment(environment(core, self._finder)),
            ),
            frames=(),
            depth=0,
            code=code,
            hints=(
                f"triage knows {kind.title} and does not read its own stack: only native frames are shown.{other} "
                f"{_PAGE}.",
            ),
        )

    def _version(self) -> str | None:
        kind = self._kind
        file = self._finder.locate(self._module).file
        if kind.contents is not None and file is not None:
            inside = kind.contents.search(file.contents[: len(file.contents)])
            if inside is not None:
                return inside[1].decode("ascii", "replace")
        named = kind.version.search(self._module.path) if kind.version is not None else None
        return named[1] if named is not None else None

    def _generated(self) -> tuple[tuple[int, int], ...]:
        """Executable memory that belongs to no file."""
        regions = self._core.memory.regions()
        modules = [module for module in self._core.modules if module.path == VDSO]
        return tuple(
            (region.start, region.end)
            for region in regions
            if region.flags & PF_X
            and region.path is None
            and not any(module.start <= region.start < module.end for module in modules)
            and region.start < 1 << 47
        )
