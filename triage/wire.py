"""The JSON of our contract: records out, and crash records back in.

Addresses, offsets and register values are `"0x…"` text here, `null` when missing; times are
ISO 8601 in UTC with a trailing Z. Strings are passed on as they are, lone surrogates and
control characters included: callers use `json.dumps` with its ASCII default, which spells
them all as escapes. Names that CONTRACT.md gives keep their meaning; ours may be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from triage import wire_runtime
from triage.model import (
    Cluster,
    Crash,
    CrashRow,
    Decision,
    Failure,
    Fiber,
    Incident,
    LastError,
    MemoryUse,
    Outcome,
    Regrouping,
    Request,
    Runtime,
    Signal,
    Signature,
    Status,
)
from triage.wire_fault import fault_from_json, fault_to_json, finding_from_json, finding_to_json
from triage.wire_module import maybe, module_from_json, module_to_json, unhex
from triage.wire_origin import origin_from_json, origin_to_json
from triage.wire_thread import frame_from_json, frame_to_json, thread_from_json, thread_to_json

Json = dict[str, Any]
"""A JSON object: text keys; values are JSON values."""


def outcome_to_json(outcome: Outcome) -> Json:
    """One line of `batch --json`: `core`, `status`, `crash` or null, `error` or null."""
    return {
        "core": outcome.core,
        "status": outcome.status.value,
        "crash": maybe(crash_to_json, outcome.crash),
        "error": maybe(_failure_to_json, outcome.failure),
    }


def cluster_to_json(cluster: Cluster) -> Json:
    """The cluster object of the contract."""
    return {
        "id": cluster.id,
        "title": cluster.title,
        "signature": cluster.signature,
        "count": cluster.count,
        "first_seen": maybe(_moment_to_json, cluster.first_seen),
        "last_seen": maybe(_moment_to_json, cluster.last_seen),
        "state": cluster.state.value,
        "severity": cluster.severity,
        "crashes": list(cluster.crashes),
        "versions": list(cluster.versions),
        "hosts": list(cluster.hosts),
        "note": cluster.note,
        "open": cluster.open,
        "flags": [flag.value for flag in cluster.flags],
        "remarks": list(cluster.remarks),
        "decision": maybe(decision_to_json, cluster.decision),
    }


def decision_to_json(decision: Decision) -> Json:
    """What a person decided about a cluster."""
    return {
        "state": decision.state.value,
        "at": _moment_to_json(decision.at),
        "by": decision.by,
        "note": decision.note,
        "bug": decision.bug,
        "until": decision.until,
        "fixed_in": decision.fixed_in,
        "since": maybe(_moment_to_json, decision.since),
        "began": _moment_to_json(decision.holds_from),
        "undone": maybe(_moment_to_json, decision.undone),
        "undone_by": decision.undone_by,
    }


def regrouping_to_json(change: Regrouping) -> Json:
    """A merge or a split: who made it, when, and whether it was taken back."""
    return {
        "number": change.number,
        "kind": change.kind,
        "cluster": change.cluster,
        "target": change.target,
        "by": change.by,
        "why": change.why,
        "time": maybe(_moment_to_json, change.time),
        "undone": maybe(_moment_to_json, change.undone),
    }


def incident_to_json(incident: Incident) -> Json:
    """Clusters that look like victims of one memory corruption."""
    return {
        "what": incident.what,
        "clusters": list(incident.clusters),
        "count": incident.count,
        "first_seen": maybe(_moment_to_json, incident.first_seen),
        "last_seen": maybe(_moment_to_json, incident.last_seen),
    }


def crash_row_to_json(row: CrashRow) -> Json:
    """A crash as lists show it; the names mean what they mean in the crash object."""
    return {
        "id": row.id,
        "core": row.core,
        "status": row.status.value,
        "time": maybe(_moment_to_json, row.time),
        "host": row.host,
        "pid": row.pid,
        "executable": row.executable,
        "signal": row.signal,
        "runtime": row.runtime,
        "script": row.script,
        "cluster": row.cluster,
        "title": row.title,
    }


def crash_to_json(crash: Crash) -> Json:
    """The crash object of the contract; `crash_from_json` is its exact inverse."""
    record = crash_without_lists(crash)
    record["threads"] = list(map(thread_to_json, crash.threads))
    record["modules"] = list(map(module_to_json, crash.modules))
    return record


def crash_without_lists(crash: Crash) -> Json:
    """The same with nothing under `threads` and `modules`, for who takes `threads_text` and `modules_text`."""
    signature = crash.signature
    return {
        "id": crash.id,
        "core": crash.core,
        "status": crash.status.value,
        "time": maybe(_moment_to_json, crash.time),
        "host": crash.host,
        "pid": crash.pid,
        "executable": crash.executable,
        "build_id": crash.build_id,
        "arguments": list(crash.arguments),
        "signal": maybe(_signal_to_json, crash.signal),
        "runtime": maybe(_runtime_to_json, crash.runtime),
        "threads": None,
        "modules": None,
        "findings": [finding_to_json(finding) for finding in crash.findings],
        "signature": signature.key if signature else None,
        "signature_title": signature.title if signature else None,
        "signature_steps": list(signature.steps) if signature else [],
        "signature_aliases": list(signature.aliases) if signature else [],
        "markers": list(signature.markers) if signature else [],
        "cluster": crash.cluster,
        "registers": {name: hex(value) for name, value in crash.registers.items()},
        "instruction": crash.instruction,
        "fault": maybe(fault_to_json, crash.fault),
        "origin": maybe(origin_to_json, crash.origin),
        "gdb": crash.gdb,
        "isolation": crash.isolation,
        "warnings": list(crash.warnings),
        "timing": dict(crash.timing),
    }


def crash_from_json(record: Mapping[str, Any]) -> Crash:
    """The crash that `crash_to_json` wrote. Keys that are not ours are passed over.

    Raises:
        ValueError: when `record` is not such an object; the message says what is amiss.
    """
    try:
        return _crash_from_json(record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a crash record: {type(error).__name__}: {error}") from error


def _crash_from_json(record: Mapping[str, Any]) -> Crash:
    return Crash(
        id=record["id"],
        core=record["core"],
        status=Status(record["status"]),
        time=maybe(_moment_from_json, record["time"]),
        host=record["host"],
        pid=record["pid"],
        executable=record["executable"],
        build_id=record["build_id"],
        arguments=tuple(record["arguments"]),
        signal=maybe(_signal_from_json, record["signal"]),
        runtime=maybe(_runtime_from_json, record["runtime"]),
        threads=tuple(thread_from_json(thread) for thread in record["threads"]),
        modules=tuple(module_from_json(module) for module in record["modules"]),
        findings=tuple(finding_from_json(finding) for finding in record["findings"]),
        signature=_signature_from_json(record),
        cluster=record["cluster"],
        registers={name: unhex(value) for name, value in record["registers"].items()},
        instruction=record["instruction"],
        fault=maybe(fault_from_json, record.get("fault")),
        origin=maybe(origin_from_json, record.get("origin")),
        gdb=record["gdb"],
        isolation=record.get("isolation"),
        warnings=tuple(record["warnings"]),
        timing=dict(record["timing"]),
    )


def _signature_from_json(crash: Mapping[str, Any]) -> Signature | None:
    if crash["signature"] is None:
        return None
    return Signature(
        key=crash["signature"],
        title=crash["signature_title"],
        steps=tuple(crash["signature_steps"]),
        aliases=tuple(crash.get("signature_aliases", ())),
        markers=tuple(crash.get("markers", ())),
    )


def _failure_to_json(failure: Failure) -> Json:
    return {"code": failure.code, "message": failure.message}


def _signal_to_json(signal: Signal) -> Json:
    return {
        "number": signal.number,
        "name": signal.name,
        "code": signal.code,
        "address": maybe(hex, signal.address),
        "code_name": signal.code_name,
        "sender": signal.sender,
        "sender_user": signal.sender_user,
    }


def _signal_from_json(record: Mapping[str, Any]) -> Signal:
    return Signal(
        number=record["number"],
        name=record["name"],
        code=record["code"],
        code_name=record["code_name"],
        address=maybe(unhex, record["address"]),
        sender=record["sender"],
        sender_user=record.get("sender_user"),
    )


def _runtime_to_json(runtime: Runtime) -> Json:
    return {
        "name": runtime.name,
        "version": runtime.version,
        "sapi": runtime.sapi,
        "debug": runtime.debug,
        "zts": runtime.zts,
        "script": runtime.script,
        "request": maybe(_request_to_json, runtime.request),
        "extensions": dict(runtime.extensions),
        "options": dict(runtime.options),
        "memory": maybe(_memory_to_json, runtime.memory),
        "last_error": maybe(_last_error_to_json, runtime.last_error),
        "exception": maybe(_last_error_to_json, runtime.exception),
        "jit": runtime.jit,
        "fibers": [_fiber_to_json(fiber) for fiber in runtime.fibers],
        "hooks": [wire_runtime.hook_to_json(hook) for hook in runtime.hooks],
        "callbacks": list(runtime.callbacks),
        "opcache": maybe(wire_runtime.opcache_to_json, runtime.opcache),
        "heap": maybe(wire_runtime.heap_to_json, runtime.heap),
        "worker": maybe(wire_runtime.worker_to_json, runtime.worker),
        "environment": dict(runtime.environment),
        "extension_files": dict(runtime.extension_files),
        "mismatched": dict(runtime.mismatched),
        "state": dict(runtime.state),
    }


def _runtime_from_json(record: Mapping[str, Any]) -> Runtime:
    return Runtime(
        name=record["name"],
        version=record["version"],
        sapi=record["sapi"],
        debug=record["debug"],
        zts=record["zts"],
        script=record["script"],
        request=maybe(_request_from_json, record["request"]),
        extensions=dict(record["extensions"]),
        options=dict(record["options"]),
        memory=maybe(_memory_from_json, record["memory"]),
        last_error=maybe(_last_error_from_json, record["last_error"]),
        exception=maybe(_last_error_from_json, record["exception"]),
        jit=record["jit"],
        fibers=tuple(_fiber_from_json(fiber) for fiber in record.get("fibers", ())),
        hooks=tuple(wire_runtime.hook_from_json(hook) for hook in record.get("hooks", ())),
        callbacks=tuple(record.get("callbacks", ())),
        opcache=maybe(wire_runtime.opcache_from_json, record.get("opcache")),
        heap=maybe(wire_runtime.heap_from_json, record.get("heap")),
        worker=maybe(wire_runtime.worker_from_json, record.get("worker")),
        environment=dict(record.get("environment", {})),
        extension_files=dict(record.get("extension_files", {})),
        mismatched=dict(record.get("mismatched", {})),
        state=dict(record.get("state", {})),
    )


def _fiber_to_json(fiber: Fiber) -> Json:
    frames = [frame_to_json(frame) for frame in fiber.frames]
    return {"id": fiber.id, "status": fiber.status, "depth": fiber.depth, "frames": frames}


def _fiber_from_json(record: Mapping[str, Any]) -> Fiber:
    frames = tuple(frame_from_json(frame) for frame in record["frames"])
    return Fiber(id=record["id"], status=record["status"], depth=record["depth"], frames=frames)


def _request_to_json(request: Request) -> Json:
    return {"method": request.method, "uri": request.uri, "variables": dict(request.variables)}


def _request_from_json(record: Mapping[str, Any]) -> Request:
    return Request(method=record["method"], uri=record["uri"], variables=dict(record.get("variables", {})))


def _memory_to_json(memory: MemoryUse) -> Json:
    return {"used": memory.used, "peak": memory.peak, "limit": memory.limit}


def _memory_from_json(record: Mapping[str, Any]) -> MemoryUse:
    return MemoryUse(used=record["used"], peak=record["peak"], limit=record["limit"])


def _last_error_to_json(error: LastError) -> Json:
    return {"type": error.type, "message": error.message, "file": error.file, "line": error.line}


def _last_error_from_json(record: Mapping[str, Any]) -> LastError:
    return LastError(type=record["type"], message=record["message"], file=record["file"], line=record["line"])


def _moment_to_json(moment: datetime) -> str:
    # Not clock.iso(): that drops fractions of a second, and this must come back exactly.
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment_from_json(text: str) -> datetime:
    return datetime.fromisoformat(text)
