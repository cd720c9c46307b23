"""Layout tables made anew: from an interpreter's headers and a C compiler, without running anything of it.

An interpreter's folder has `structs.json`, which says what is read, and `donor.c`, a file that includes the
headers. `structs.json` is `{"structs": {NAME: {"type": C TYPE, "fields": {FIELD: [PATH, …]}}}, "consts":
[MACRO, …], "enums": [C TYPE, …]}`; of a field's paths the first that a version has is the one measured.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from triage.errors import EnvironmentLacks, InputError
from triage.symbols.dwarf import DebugTypes

Table = dict[str, Any]

_SECONDS = 120
_FLAGS = ("-g", "-gdwarf-4", "-fno-eliminate-unused-debug-types", "-w", "-D_GNU_SOURCE")
_PREFIX = "TRIAGE_"
_ENUM = "enum triage_constants"
_END = "TRIAGE_END"


def table_from_headers(
    package: str, key: str, folders: Sequence[Path], *, flags: Sequence[str] = (), compiler: Sequence[str] = ("gcc",)
) -> Table:
    """The table of one version, as a file in `layouts/` holds it. `folders` are searched for headers in order.

    Raises:
        EnvironmentLacks: when there is no such compiler.
        InputError: when the headers cannot be compiled.
    """
    wanted = _wanted(package)
    with tempfile.TemporaryDirectory() as work:
        made = Path(work, "donor.o")
        include = [f"-I{folder}" for folder in folders]
        compile_source(_source(package, wanted), made, [*flags, *include], compiler, what="the headers")
        types = DebugTypes(made)
    return _table(key, types, wanted)


def table_from_debug_information(package: str, key: str, path: Path) -> Table:
    """The same from an interpreter's own debug information; macros are not in there, so `consts` lacks them.

    Raises:
        InputError: when the file has no debug information or it cannot be read.
    """
    return _table(key, DebugTypes(path), _wanted(package))


def render(table: Mapping[str, Any]) -> str:
    """The text of a layout file: a line for each structure, so that a change can be reviewed."""
    heads = [f"{json.dumps(key)}: {json.dumps(table[key])}" for key in ("version", "consts")]
    structs = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in table["structs"].items()]
    return "{" + ",\n".join(heads) + ',\n"structs": {\n' + ",\n".join(structs) + "\n}}\n"


def _wanted(package: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(resources.files(package).joinpath("structs.json").read_text("utf-8"))
    return found


def _table(key: str, types: DebugTypes, wanted: Mapping[str, Any]) -> Table:
    names = types.enumerators(_ENUM)
    constants = {name.removeprefix(_PREFIX): value for name, value in names.items() if name != _END}
    for enumeration in wanted["enums"]:
        constants |= types.enumerators(enumeration)
    structs = {name: _measured(types, entry) for name, entry in sorted(wanted["structs"].items())}
    return {
        "version": key,
        "consts": dict(sorted(constants.items())),
        "structs": {name: entry for name, entry in structs.items() if entry is not None},
    }


def _measured(types: DebugTypes, entry: Mapping[str, Any]) -> Table | None:
    for name in entry["type"].split(" | "):
        structure = types.structure(name)
        if structure is None:
            continue
        places = structure.places(path for paths in entry["fields"].values() for path in paths) or {}
        fields = {
            field: list(next(places[path] for path in paths if path in places))
            for field, paths in sorted(entry["fields"].items())
            if any(path in places for path in paths)
        }
        return {"size": structure.size, "fields": fields}
    return None


def _source(package: str, wanted: Mapping[str, Any]) -> str:
    lines = [resources.files(package).joinpath("donor.c").read_text("utf-8"), f"{_ENUM} {{"]
    for name in sorted(wanted["consts"]):
        lines += [f"#ifdef {name}", f"{_PREFIX}{name} = {name},", "#endif"]
    return "\n".join([*lines, f"{_END} = 0", "};\n"])


def compile_source(
    source: str,
    target: Path,
    flags: Sequence[str],
    compiler: Sequence[str],
    *,
    what: str,
    output: Sequence[str] = ("-c",),
) -> None:
    """Compile C text into `target`, with debug information of every type in it.

    `output` says what kind of file that is; `what` is what the text includes, for messages.

    Raises:
        EnvironmentLacks: when there is no such compiler.
        InputError: `not-headers`, when it does not compile.
    """
    command = [*compiler, *_FLAGS, *flags, *output, "-x", "c", "-", "-o", str(target)]
    try:
        done = subprocess.run(command, input=source, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except FileNotFoundError as error:
        raise EnvironmentLacks(
            f"{compiler[0]} is not installed", help="As root: apt install gcc libc6-dev"
        ) from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise InputError("not-headers", f"{what} cannot be compiled: {' / '.join(lines[:2])}")
