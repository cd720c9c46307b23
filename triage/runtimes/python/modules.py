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
    """`extensions` by module name with version, `files` their files.

    `functions` are native ones by start address: whose each is, and where its name lies.
    """

    extensions: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    functions: Mapping[int, tuple[str, int]] = field(default_factory=dict)


class NativeNames(Mapping[int, str]):
    """Names of native functions by start address, each read when it is asked for: of a thousand a stack has a few."""

    def __init__(self, objects: Objects, functions: Mapping[int, tuple[str, int]], others: Mapping[int, str]) -> None:
        """`others` are names that are known already; they come first."""
        self._objects = objects
        self._functions = functions
        self._others = others

    def __getitem__(self, address: int) -> str:
        if address in self._others:
            return self._others[address]
        owner, place = self._functions[address]
        name = self._objects.text(place, 256)
        if not name:
            raise KeyError(address)
        return f"{owner}.{name}"

    def __iter__(self) -> Iterator[int]:
        return iter({**self._functions, **self._others})

    def __len__(self) -> int:
        return len({**self._functions, **self._others})


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
    functions: dict[int, tuple[str, int]] = {}
    for name, module in found.items():
        namespace = objects.field(module, "module", "md_dict")
        file = objects.string(objects.get(namespace, "__file__"))
        if file is not None and ".so" not in file.rsplit("/", 1)[-1]:
            continue  # written in Python: it has no native functions of its own
        for start, owner, place in _functions(objects, name, namespace):
            functions.setdefault(start, (owner, place))
        if file is not None:
            files[name] = file
            extensions[name] = version if _STANDARD in file else _version(objects, name, namespace, found)
    return Imported(extensions, files, functions)


def _version(objects: Objects, name: str, namespace: int | None, found: Mapping[str, int]) -> str | None:
    """A module's own version, else that of the package it belongs to."""
    own = _told(objects, objects.named(namespace))
    while own is None and "." in name:
        name = name.rpartition(".")[0]
        if name in found:
            own = _told(objects, objects.named(objects.field(found[name], "module", "md_dict")))
    return own


def _told(objects: Objects, namespace: Mapping[str, int]) -> str | None:
    texts = (objects.string(namespace.get(name)) for name in _VERSIONS)
    return next((text for text in texts if text and len(text) <= _LONGEST_VERSION), None)


def _functions(objects: Objects, module: str, namespace: int | None) -> Iterator[tuple[int, str, int]]:
    """Native functions of a module and methods of its types: `(start address, whose, address of the name)`."""
    for _, value in objects.items(namespace):
        kind = objects.type_name(value)
        if kind == "builtin_function_or_method":
            yield from _method(objects, objects.pointer(value, "function", "m_ml"), module)
        elif kind == "type":
            owner = objects.name_of_type(value)
            for _, entry in objects.items(objects.field(value, "type", "tp_dict")) if owner else ():
                if objects.type_name(entry) in _DESCRIPTORS:
                    yield from _method(objects, objects.pointer(entry, "method_descriptor", "d_method"), str(owner))


def _method(objects: Objects, record: int | None, owner: str) -> Iterator[tuple[int, str, int]]:
    name = objects.field(record, "method_def", "ml_name") if record else None
    start = objects.field(record, "method_def", "ml_meth") if record else None
    if name and start:
        yield start, owner, name
