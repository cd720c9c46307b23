"""Extensions as files: which is in a file of its own, and which was built for another PHP."""

from __future__ import annotations

from triage.corefile import CoreFile
from triage.runtimes.php.globals import Php


def files(core: CoreFile, php: Php) -> dict[str, str]:
    """Extension → the path of its own file; those built into PHP are left out."""
    found = {}
    for extension in php.extensions:
        module = core.module_at(extension.within)
        if module is not None and module.path != php.module.path:
            found[extension.name] = module.path
    return found


def mismatched(php: Php) -> dict[str, str]:
    """Extension → in what its module entry differs from PHP's own (API number, thread safety, debug build).

    PHP refuses such a module when it loads it, so this means a patched check, or a record that was
    overwritten since.
    """
    engine = next((e for e in php.extensions if e.name.lower() == "core"), None)
    if engine is None:
        return {}
    found = {}
    for extension in php.extensions:
        if extension.api != engine.api:
            found[extension.name] = f"it was built for module API {extension.api}, this PHP has {engine.api}"
        elif extension.zts != engine.zts:
            found[extension.name] = "it was built for a PHP of the other kind of thread safety"
        elif extension.debug != engine.debug:
            found[extension.name] = "only one of it and PHP is a debug build"
    return found
