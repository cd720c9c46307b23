"""Perl 5 in a core: found by `PL_curinterp`, read with measured structure tables."""

from __future__ import annotations

from collections.abc import Mapping

from triage import redact
from triage.corefile import CoreFile
from triage.model import LastError, Runtime
from triage.runtimes.perl.find import Perl, find_perl
from triage.runtimes.perl.frames import StackReader, Walk
from triage.runtimes.perl.values import Values
from triage.runtimes.protocol import Inspection, Reading
from triage.symbols import Finder
from triage.symbols.environment import environment

LOOPS = frozenset({"Perl_runops_standard", "Perl_runops_debug"})
_MOST_MESSAGE = 2000


def detect(core: CoreFile, finder: Finder, *, script_frames: int = 100_000) -> PerlProcess | str | None:
    """Perl in this core, `None` when it is no Perl process, or a sentence why Perl cannot be read."""
    found = find_perl(core, finder)
    if not isinstance(found, Perl):
        return found
    return PerlProcess(core, finder, found, script_frames=script_frames)


class PerlProcess:
    """One Perl process's state. `read()` never raises for what the core holds or lacks."""

    name = "perl"

    def __init__(self, core: CoreFile, finder: Finder, perl: Perl, *, script_frames: int) -> None:
        self._core = core
        self._finder = finder
        self._perl = perl
        self._limit = script_frames
        self._values = Values(core.memory, perl.layout)

    def inspections(self) -> Mapping[str, Inspection]:
        """No questions of its own: a debugging session has `perl-bt` and `perl-why`."""
        return {}

    def read(self) -> Reading:
        """Stack and facts; whatever cannot be read is missing and named in the warnings."""
        walk = self.stack()
        extensions, files = self._extensions()
        return Reading(
            runtime=Runtime(
                name=self.name,
                version=self._perl.version,
                zts=self._perl.threaded,
                script=self._script(),
                last_error=self._last_error(),
                extensions=extensions,
                extension_files=files,
                environment=redact.environment(environment(self._core, self._finder)),
            ),
            frames=walk.frames,
            depth=len(walk.frames),
            loops=LOOPS,
            warnings=tuple(dict.fromkeys((*self._perl.warnings, *walk.warnings))),
        )

    def stack(self) -> Walk:
        """The Perl stack alone."""
        return StackReader(self._values).walk(self._perl.interpreter, limit=self._limit)

    def _script(self) -> str | None:
        return self._values.text(self._values.field(self._perl.interpreter, "interpreter", "origfilename"))

    def _last_error(self) -> LastError | None:
        """`$@`, what the last eval died of."""
        glob = self._values.field(self._perl.interpreter, "interpreter", "errgv")
        message = self._values.scalar(self._values.slot(glob, "sv"))
        if not message:
            return None
        return LastError(type="$@", message=redact.text(message.strip()[:_MOST_MESSAGE]), file=None, line=None)

    def _extensions(self) -> tuple[dict[str, str | None], dict[str, str]]:
        """Loaded XS modules with `$VERSION`, and their files: DynaLoader keeps both in the order of loading."""
        values = self._values
        main = values.field(self._perl.interpreter, "interpreter", "defstash")
        names, paths = (
            [values.scalar(item) for item in values.items(values.find(main, f"DynaLoader::{name}", "av"))]
            for name in ("dl_modules", "dl_shared_objects")
        )
        known = [name for name in names if name]
        versions = {name: values.scalar(values.find(main, f"{name}::VERSION", "sv")) for name in known}
        files = {name: path for name, path in zip(names, paths, strict=False) if name and path}
        return versions, files
