"""What was imported: extension modules with their versions and files, and names for their native functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from triage.runtimes.python.objects import Objects

_MOST_MODULES = 10_000
_STANDARD = "/lib-dynload/"
_VERSIONS = ("__version__", "version", "VERSION")
_DESCRIPTORS = ("method_descriptor", "classmethod_descriptor")
_LONGEST_VERSION = 80


@dataclass(frozen=True, slots=True)
class Imported:
    """`extensions` by module name with version, `files` their files, `names` native functions by start address."""

    extensions: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)


def modules(objects: Objects, interpreter: int) -> dict[str, int]:
    """sys.modules: names and the addresses of the module objects, those that have a namespace."""
    table = objects.field(interpreter, "interpreter_state", "imports_modules")
    found: dict[str, int] = {}
    for key, value in objects.items(table):
        name = objects.string(key)
        if name is None or len(found) >= _MOST_MODULES or not objects.sound(value):
            continue
        if objects.is_a(objects.field(value, "module", "md_dict"), "dict"):
            found[name] = value
    return found


def imported(objects: Objects, found: Mapping[str, int], version: str) -> Imported:
    """All extension modules. One of Python's own has Python's `version`."""
    extensions: dict[str, str | None] = {}
    files: dict[str, str] = {}
    names: dict[int, str] = {}
    for name, module in found.items():
        namespace = objects.named(objects.field(module, "module", "md_dict"))
        file = objects.string(namespace.get("__file__"))
        if file is not None and ".so" not in file.rsplit("/", 1)[-1]:
            continue  # written in Python: it has no native functions of its own
        for address, function in _functions(objects, name, namespace):
            names.setdefault(address, function)
        if file is not None:
            files[name] = file
            extensions[name] = version if _STANDARD in file else _version(objects, name, namespace, found)
    return Imported(extensions, files, names)


def _version(objects: Objects, name: str, namespace: Mapping[str, int], found: Mapping[str, int]) -> str | None:
    """A module's own version, else that of the package it belongs to."""
    own = _told(objects, namespace)
    while own is None and "." in name:
        name = name.rpartition(".")[0]
        if name in found:
            own = _told(objects, objects.named(objects.field(found[name], "module", "md_dict")))
    return own


def _told(objects: Objects, namespace: Mapping[str, int]) -> str | None:
    texts = (objects.string(namespace.get(name)) for name in _VERSIONS)
    return next((text for text in texts if text and len(text) <= _LONGEST_VERSION), None)


def _functions(objects: Objects, module: str, namespace: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """Native functions of a module and methods of its types: `(start address, name)`."""
    for value in namespace.values():
        kind = objects.type_name(value)
        if kind == "builtin_function_or_method":
            yield from _method(objects, objects.pointer(value, "function", "m_ml"), module)
        elif kind == "type":
            owner = objects.name_of_type(value)
            for entry in objects.named(objects.field(value, "type", "tp_dict")).values() if owner else ():
                if objects.type_name(entry) in _DESCRIPTORS:
                    yield from _method(objects, objects.pointer(entry, "method_descriptor", "d_method"), str(owner))


def _method(objects: Objects, record: int | None, owner: str) -> Iterator[tuple[int, str]]:
    name = objects.text(objects.field(record, "method_def", "ml_name"), 256) if record else None
    start = objects.field(record, "method_def", "ml_meth") if record else None
    if name and start:
        yield start, f"{owner}.{name}"
