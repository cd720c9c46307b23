"""Extensions as files: which is in a file of its own, and which was built for another PHP."""

from __future__ import annotations

from collections.abc import Sequence

from triage.corefile import CoreFile
from triage.corefile.twins import Twins
from triage.runtimes.php.extensions import Extension
from triage.runtimes.php.globals import Php


def files(core: CoreFile, php: Php, twins: Twins, kind: int) -> dict[str, str]:
    """Extension → the path of its own file; those built into PHP are left out.

    `kind` is the number of processes with the same files and extensions, wherever these lie.
    """
    return dict(twins.once(kind, "extensions' files", lambda: _files(core, php)))


def _files(core: CoreFile, php: Php) -> dict[str, str]:
    found = {}
    for extension in php.extensions:
        module = core.module_at(extension.within)
        if module is not None and module.path != php.module.path:
            found[extension.name] = module.path
    return found


def mismatched(php: Php, twins: Twins, kind: int) -> dict[str, str]:
    """Extension → in what its module entry differs from PHP's own (API number, thread safety, debug build).

    PHP refuses such a module when it loads it, so this means a patched check, or a record that was
    overwritten since. `kind` as above.
    """
    return dict(twins.once(kind, "mismatched", lambda: _mismatched(php.alike)))


def _mismatched(extensions: Sequence[Extension]) -> dict[str, str]:
    engine = next((e for e in extensions if e.name.lower() == "core"), None)
    if engine is None:
        return {}
    found = {}
    for extension in extensions:
        if extension.api != engine.api:
            found[extension.name] = f"it was built for module API {extension.api}, this PHP has {engine.api}"
        elif extension.zts != engine.zts:
            found[extension.name] = "it was built for a PHP of the other kind of thread safety"
        elif extension.debug != engine.debug:
            found[extension.name] = "only one of it and PHP is a debug build"
    return found
