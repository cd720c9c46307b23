"""Layout files made anew: from a tree of PHP's headers and a C compiler, without running anything."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from triage.errors import InputError
from triage.runtimes.donor import compile_source
from triage.runtimes.php.measure import Measured, hand_kept, measure, wanted_constants, wanted_structures
from triage.symbols.dwarf import DebugTypes

_FLAGS = ("-include", "signal.h")
# What `configure --enable-zts` puts into php_config.h on Linux.
_ZTS = ("-DZTS=1", "-DPTHREADS=1", "-DZEND_MAX_EXECUTION_TIMERS=1")
_OPCODE = re.compile(r"^#define (ZEND_(?!VM_)\w+)\s+(\d+)\s*$", re.MULTILINE)
_PREFIX = "TRIAGE_"
_ENUM = "triage_constants"


def layout_table(headers: Path, *, zts: bool, compiler: Sequence[str] = ("gcc",)) -> dict[str, Any]:
    """The table of one version and threading mode, as the files in `layouts/` hold it.

    `headers` is the folder that has `main/`, `Zend/` and `TSRM/` in it; `compiler` is the command
    with whatever chooses its target.

    Raises:
        EnvironmentLacks: when there is no such compiler.
        InputError: when the headers cannot be compiled, or are not PHP's.
    """
    with tempfile.TemporaryDirectory() as work:
        made = Path(work, "donor.o")
        compile_types(headers, made, zts=zts, compiler=compiler)
        types = DebugTypes(made)
    constants = {name.removeprefix(_PREFIX): value for name, value in types.enumerators(f"enum {_ENUM}").items()}
    version = constants.get("PHP_VERSION_ID")
    if version is None:
        raise InputError("not-headers", f"{headers} does not say which PHP it is of")
    minor = f"{version // 10000}.{version // 100 % 100}"
    structs = {name: _entry(name, found) for name, found in measure(types).items()}
    structs |= hand_kept().get(minor, {})
    return {
        "version": f"{minor}-{'zts' if zts else 'nts'}",
        "consts": dict(sorted(constants.items())),
        "opcodes": _opcodes(headers),
        "structs": dict(sorted(structs.items())),
    }


def render(table: Mapping[str, Any]) -> str:
    """The text of a layout file: a line for each structure, so that a change can be reviewed."""
    heads = [f"{json.dumps(key)}: {json.dumps(table[key])}" for key in ("version", "consts", "opcodes")]
    structs = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in table["structs"].items()]
    return "{" + ",\n".join(heads) + ',\n"structs": {\n' + ",\n".join(structs) + "\n}}\n"


def _entry(name: str, found: Measured) -> dict[str, Any]:
    lost = wanted_structures()[name].always - found.fields.keys()
    if lost:
        moved = f'move them to "sometimes" in structs.json: {", ".join(sorted(lost))}'
        raise InputError("fields-lost", f"{name} no longer has fields that every version had; {moved}")
    return {"size": found.size, "fields": {field: list(place) for field, place in found.fields.items()}}


def compile_types(
    headers: Path, target: Path, *, zts: bool, compiler: Sequence[str] = ("gcc",), output: Sequence[str] = ("-c",)
) -> None:
    """Compile a file that holds nothing but the types, and their debug information, into `target`.

    `output` says what kind of file that is: an object, or with other options a program or library.

    Raises:
        EnvironmentLacks: when there is no such compiler.
        InputError: `not-headers`, when it does not compile.
    """
    folders = [f"-I{headers / name}" for name in (".", "main", "Zend", "TSRM")]
    flags = [*_FLAGS, *(_ZTS if zts else ()), *folders]
    compile_source(source(), target, flags, compiler, what=str(headers), output=output)


def source() -> str:
    """The C file that names the types, with the value of each known macro as a member of an enumeration."""
    lines = [resources.files(__package__).joinpath("donor.c").read_text("utf-8"), f"enum {_ENUM} {{"]
    for name in sorted(wanted_constants()):
        lines += [f"#ifdef {name}", f"{_PREFIX}{name} = {name},", "#endif"]
    return "\n".join([*lines, "};\n"])


def _opcodes(headers: Path) -> dict[str, str]:
    text = (headers / "Zend" / "zend_vm_opcodes.h").read_text("utf-8")
    found = {int(number): name for name, number in _OPCODE.findall(text)}
    return {str(number): found[number] for number in sorted(found)}


def render_parts(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of a file with some structures of each minor version: `{"8.2": {NAME: {"size":, "fields":}}}`."""
    versions = []
    for version, structs in parts.items():
        lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in structs.items()]
        versions.append(f"{json.dumps(version)}: {{\n" + ",\n".join(lines) + "}")
    return "{\n" + ",\n".join(versions) + "\n}\n"
