"""What is kept of an outcome, made where the core was read.

Whoever stores it need not look into the crash again, and need not be sent it: a crash is a thousand
objects, of which a store and a line of output want twenty texts.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache

from triage.cluster.incident import incident_of
from triage.cluster.profile import dump, profile_of
from triage.model import Crash, Failure, Outcome, Runtime, Signature, Status
from triage.model.record import changed, record
from triage.query import Fact, Told, facts_from, told_of
from triage.wire import crash_without_lists
from triage.wire_module import modules_text
from triage.wire_thread import threads_text

_INDEXED_LENGTH = 200  # PostgreSQL refuses long values in an index, and a core's text may be any length


@record
class FiledCrash:
    """A crash as a store keeps it; names that a Crash has mean the same, `signal` and `runtime` are labels.

    `record` is its JSON before and after the name of the cluster, in ASCII. `profile`, `facts` and
    `incident` are what groups it, finds it and links it; without a signature there are none.
    """

    id: str
    core: str
    status: Status
    time: datetime | None
    host: str | None
    pid: int | None
    executable: str | None
    signal: str | None
    runtime: str | None
    script: str | None
    signature: Signature | None
    record: tuple[str, str]
    profile: str = ""
    facts: str = "[]"
    incident: str | None = None
    cluster: str | None = None

    @property
    def text(self) -> str:
        """The whole record, as `json.dumps(crash_to_json(…), separators=(",", ":"))` gives it."""
        before, after = self.record
        return f"{before}{json.dumps(self.cluster)}{after}"


@record
class Filed:
    """What became of one input: `triage.model.Outcome`, ready to be stored."""

    core: str
    status: Status
    crash: FiledCrash | None = None
    failure: Failure | None = None

    def within(self, cluster: str | None) -> Filed:
        """The same, its crash in that cluster."""
        return self if self.crash is None else changed(self, crash=changed(self.crash, cluster=cluster))

    @property
    def text(self) -> str:
        """One line of `batch --json`; see `triage.wire.outcome_to_json`."""
        error = None if self.failure is None else {"code": self.failure.code, "message": self.failure.message}
        head = json.dumps({"core": self.core, "status": self.status.value})
        return f'{head[:-1]}, "crash": {self.crash.text if self.crash else "null"}, "error": {json.dumps(error)}}}'


def filed(outcome: Outcome) -> Filed:
    """All that a store keeps of an outcome but for the cluster."""
    crash = outcome.crash
    return Filed(
        core=outcome.core,
        status=outcome.status,
        crash=None if crash is None else _crash(crash),
        failure=outcome.failure,
    )


def facts_in(text: str) -> set[Fact]:
    """The facts of `FiledCrash.facts`."""
    return {(key, value) for key, value in json.loads(text)}


def _crash(crash: Crash) -> FiledCrash:
    runtime, signed = crash.runtime, crash.signature is not None
    return FiledCrash(
        id=crash.id,
        core=crash.core,
        status=crash.status,
        time=crash.time,
        host=None if crash.host is None else crash.host[:_INDEXED_LENGTH],
        pid=crash.pid,
        executable=crash.executable,
        signal=crash.signal.name if crash.signal else None,
        runtime=_label(runtime) if runtime else None,
        script=runtime.script if runtime else None,
        signature=crash.signature,
        record=_record(crash),
        profile=dump(profile_of(crash)) if signed else "",
        facts=_facts(told_of(crash)) if signed else "[]",
        incident=incident_of(crash) if signed else None,
        cluster=crash.cluster,
    )


_text = json.JSONEncoder(separators=(",", ":")).encode


@lru_cache(maxsize=256)
def _facts(told: Told) -> str:
    """Most crashes of a bug say what others said."""
    return _text(sorted(facts_from(told)))


def _record(crash: Crash) -> tuple[str, str]:
    found = crash_without_lists(crash)
    names = list(found)
    at, end = names.index("threads"), names.index("cluster")  # the modules come right behind the threads
    first, middle, last = (_text({name: found[name] for name in part}) for part in (
        names[:at], names[at + 2 : end], names[end + 1 :]
    ))  # fmt: skip
    lists = f'"threads":{threads_text(crash.threads)},"modules":{modules_text(crash.modules)}'
    return f'{first[:-1]},{lists},{middle[1:-1]},"cluster":', f",{last[1:]}"


def _label(runtime: Runtime) -> str:
    label = f"{runtime.name} {runtime.version}" if runtime.version else runtime.name
    return label[:_INDEXED_LENGTH]
