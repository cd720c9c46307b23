"""The crashed binary's own debug information, where it is at hand, instead of the shipped table.

A table holds for Debian's configuration of one patch release; a binary built otherwise (a debug
build, another patch, a local change) may differ. Its debug information is the truth about it, so it
wins, and every field that it places elsewhere than the table is said.

Measuring reads the whole debug information once; the result is kept per build-id in the user's cache.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from triage.config import cache_folder
from triage.errors import InputError
from triage.runtimes.php.layout import Layout
from triage.runtimes.php.measure import edition, is_kept_by_hand, measure, wanted_structures
from triage.symbols.dwarf import DebugTypes
from triage.symbols.finder import Located

_SAID = 5
_MOST_BYTES = 1 << 20
_HIGHEST = 1 << 24  # no structure of PHP is near 16 MiB
_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")

Structs = dict[str, Any]


class KnownLayouts:
    """What `refine` made of builds, for the next core of the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[Layout, tuple[Path, str]], tuple[Layout, tuple[str, ...]]] = {}

    def refined(self, layout: Layout, located: Located) -> tuple[Layout, tuple[str, ...]]:
        """The same as `refine`, each build once."""
        source = _source(located)
        if source is None:
            return layout, ()
        if (layout, source) not in self._known:
            self._known[layout, source] = refine(layout, located)
        return self._known[layout, source]


def refine(layout: Layout, located: Located) -> tuple[Layout, tuple[str, ...]]:
    """The layout as the crashed binary's debug information has it, and a warning for each disagreement.

    Without debug information that belongs to this very build, the layout comes back as it is. Nothing
    is raised: debug information that cannot be used is a warning.
    """
    source = _source(located)
    if source is None:
        return layout, ()
    path, build_id = source
    structs = _cached(build_id)
    if structs is None:
        try:
            structs = _measured(path, build_id)
        except InputError as error:
            return layout, (f"PHP's structures were not measured from {path.name}: {error.message}",)
        _keep(build_id, structs)
    whole = {name: entry for name, entry in structs.items() if not _lacks(name, entry)}
    sentences = [*_not_believed(structs.keys() - whole.keys()), *_disagreements(layout, whole)]
    return layout.replacing(whole) if whole else layout, tuple(_bounded(sentences))


def _source(located: Located) -> tuple[Path, str] | None:
    """The file with debug information and the build-id it must have; `None` when there is none."""
    file = located.file
    if located.debug is not None:
        build_id = located.debug.parent.name + located.debug.stem
        path = located.debug
    elif file is not None and located.verified and file.build_id is not None and file.has_debug_info:
        build_id, path = file.build_id, file.path
    else:
        return None
    return (path, build_id) if _BUILD_ID.fullmatch(build_id) else None


def _measured(path: Path, build_id: str) -> Structs:
    types = DebugTypes(path)
    if types.build_id != build_id:
        raise InputError("mismatch", f"it is of the build {types.build_id or 'unknown'}, not {build_id}")
    structs = {
        name: {"size": found.size, "fields": {field: list(place) for field, place in found.fields.items()}}
        for name, found in measure(types).items()
    }
    if not _is_sound(structs):
        raise InputError("damaged-debug-info", "the debug information is damaged")
    return structs


def _lacks(name: str, entry: Mapping[str, Any]) -> bool:
    """Whether a structure is without a field that it has in every version: then it is not PHP's, or damaged."""
    return not wanted_structures()[name].always <= entry["fields"].keys()


def _not_believed(names: Iterable[str]) -> Iterator[str]:
    for name in sorted(names):
        yield f"{name} in PHP's debug information lacks fields that every version has: the table is used"


def _disagreements(layout: Layout, structs: Structs) -> Iterator[str]:
    """A sentence for each field of the table that the debug information has elsewhere, or not at all."""
    for struct in sorted(structs):
        # The table's figures for the memory manager's structures are a first guess, known to drift.
        table = None if is_kept_by_hand(struct) else layout.places(struct)
        for field, place in sorted((table or {}).items()):
            found = structs[struct]["fields"].get(field)
            if found is None:
                yield f"{struct}.{field} is not in PHP's debug information; the table of {layout.key} has it"
            elif tuple(found) != place:
                yield (
                    f"{struct}.{field} lies at byte {found[0]} ({found[1]} long) by PHP's debug information, "
                    f"at {place[0]} ({place[1]} long) by the table of {layout.key}: the former is used"
                )


def _bounded(sentences: list[str]) -> list[str]:
    more = len(sentences) - _SAID
    if more <= 0:
        return sentences
    return [*sentences[:_SAID], f"PHP's debug information and the table of structures differ in {more} more places"]


def _cache_file(build_id: str) -> Path:
    return cache_folder() / "php-layouts" / f"{build_id}-{edition()}.json"


def _cached(build_id: str) -> Structs | None:
    """What was measured before; `None` when there is nothing, or nothing sound."""
    try:
        with _cache_file(build_id).open("rb") as stream:
            if os.fstat(stream.fileno()).st_uid != os.geteuid():
                return None
            data = json.loads(stream.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None  # measured anew
    return data if _is_sound(data) else None


def _is_sound(data: Any) -> bool:
    return isinstance(data, dict) and all(
        name in wanted_structures() and _is_structure(entry) for name, entry in data.items()
    )


def _is_structure(entry: Any) -> bool:
    if (
        not isinstance(entry, Mapping)
        or entry.keys() != {"size", "fields"}
        or not isinstance(entry["fields"], Mapping)
    ):
        return False
    return _is_figure(entry["size"]) and all(
        isinstance(place, list) and len(place) == 2 and all(map(_is_figure, place))
        for place in entry["fields"].values()
    )


def _is_figure(value: Any) -> bool:
    return type(value) is int and 0 <= value < _HIGHEST


def _keep(build_id: str, structs: Structs) -> None:
    """Write the cache file, whole or not at all, readable by its owner only."""
    path = _cache_file(build_id)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
        with os.fdopen(descriptor, "w") as stream:
            json.dump(structs, stream)
        Path(name).replace(path)
    except OSError:
        pass  # no room or no right to write: it is measured again next time
