"""What an interpreter says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from triage.model.record import record
from triage.model.stack import Frame
from triage.model.words import LANGUAGES, Confidence


@record
class Request:
    """The HTTP request being served. The query string is left out: it may hold secrets.

    `variables` has the names of what the request brought (`_GET[id]`), with types and lengths.
    """

    method: str | None
    uri: str | None
    variables: Mapping[str, str] = field(default_factory=dict)


@record
class MemoryUse:
    """The interpreter's own memory accounting, in bytes; `limit` is `None` for unlimited or unknown."""

    used: int | None
    peak: int | None
    limit: int | None


@record
class HeapFault:
    """One place where the interpreter's heap contradicts itself.

    `what` is the contradiction: `free-list`, `page-map`, `chunk`, `huge-list`, `accounting`,
    `string`, `object`, `gc-buffer`. `verdict` is the kind of misuse that fits: `overflow`,
    `use-after-free`, `double-free`, or `None` when the bytes do not tell. `slot` is the address
    of the broken block, `bin` its size class in bytes. `evidence` are sentences for people, the
    most telling one first; no contents of strings are in them unless they were redacted.
    """

    what: str
    verdict: str | None
    confidence: Confidence
    slot: int | None
    bin: int | None
    evidence: tuple[str, ...]


@record
class HeapCheck:
    """What a walk through the interpreter's heap found. `reason` says why `state` is `unknown`.

    `state` is `intact`, `damaged` or `unknown`; `chunks` 2 MiB pieces and `blocks` live small
    blocks were walked; `bytes` is what the walk counted as in use.
    """

    state: str
    reason: str | None = None
    chunks: int = 0
    blocks: int = 0
    bytes: int = 0
    faults: tuple[HeapFault, ...] = ()


@record
class LastError:
    """The last error or exception the interpreter recorded."""

    type: str | None
    message: str | None
    file: str | None
    line: int | None


@record
class Worker:
    """A worker of a process manager (php-fpm), by its own record. Whatever did not verify is `None`.

    `requests` counts those it took, the one it died in included where it had begun; `stage` is what
    it was doing.
    """

    pool: str
    started: datetime | None = None
    requests: int | None = None
    stage: str | None = None
    request_started: datetime | None = None


@record
class Fiber:
    """A fiber of the script and its own stack, innermost frame first.

    `status` is `running`, `suspended`, `waiting` (for a fiber it resumed), `init` or `dead`.
    A waiting or running fiber's frames are part of the crashed thread's stack as well.
    """

    id: int
    status: str
    depth: int
    frames: tuple[Frame, ...]


@record
class Hook:
    """A place where another module took over part of the interpreter: which, and by what code.

    `function` is the module's function where a name is known; `extension` the extension whose
    file holds it.
    """

    name: str
    module: str
    extension: str | None
    function: str | None = None


@record
class Opcache:
    """The code cache's own counters. Times as the process saw them; sizes in bytes.

    `shared` is its shared memory; `dumped` tells whether the core has that memory.
    """

    shared: int
    dumped: bool
    scripts: int | None = None
    most_scripts: int | None = None
    hits: int | None = None
    misses: int | None = None
    memory_restarts: int | None = None
    hash_restarts: int | None = None
    manual_restarts: int | None = None
    started: datetime | None = None
    restarted: datetime | None = None
    restart_pending: bool | None = None
    restart_in_progress: bool | None = None


@record
class Runtime:
    """What the interpreter says of itself.

    `callbacks` are functions of the script that the interpreter calls on its own (error handler,
    shutdown functions), as sentences. `environment` has lengths instead of values, but for
    variables that are known to hold no secret. `extension_files` has the file of each extension that
    is one of its own; `mismatched` what is wrong with extensions built for another interpreter.
    `state` is what else its state tells, by subject (`GIL`: `held by thread 12`), in words.
    """

    name: str
    version: str | None = None
    sapi: str | None = None
    debug: bool | None = None
    zts: bool | None = None
    script: str | None = None
    request: Request | None = None
    extensions: Mapping[str, str | None] = field(default_factory=dict)
    options: Mapping[str, str | None] = field(default_factory=dict)
    memory: MemoryUse | None = None
    last_error: LastError | None = None
    exception: LastError | None = None
    jit: bool | None = None
    fibers: tuple[Fiber, ...] = ()
    hooks: tuple[Hook, ...] = ()
    callbacks: tuple[str, ...] = ()
    opcache: Opcache | None = None
    heap: HeapCheck | None = None
    worker: Worker | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    extension_files: Mapping[str, str] = field(default_factory=dict)
    mismatched: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)

    @property
    def language(self) -> str:
        """The interpreter's language as people write it: `PHP`."""
        return LANGUAGES.get(self.name, self.name)
