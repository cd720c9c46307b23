"""The interpreter's state as JSON and back: the parts of `runtime` and of script frames that wire.py hands here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from triage.model import Argument, Confidence, HeapCheck, HeapFault, Hook, Opcache, Worker

Json = dict[str, Any]
_OPCACHE = (
    *("shared", "dumped", "scripts", "most_scripts", "hits", "misses", "memory_restarts", "hash_restarts"),
    *("manual_restarts", "restart_pending", "restart_in_progress"),
)


def arguments_to_json(arguments: tuple[Argument, ...]) -> list[Json]:
    """A call's arguments; `value` is null unless values were asked for."""
    return [{"name": item.name, "type": item.type, "value": item.value} for item in arguments]


def arguments_from_json(records: list[Mapping[str, Any]]) -> tuple[Argument, ...]:
    """What `arguments_to_json` wrote."""
    return tuple(Argument(name=item["name"], type=item["type"], value=item["value"]) for item in records)


def hook_to_json(hook: Hook) -> Json:
    """One hook."""
    return {"name": hook.name, "module": hook.module, "extension": hook.extension, "function": hook.function}


def hook_from_json(record: Mapping[str, Any]) -> Hook:
    """What `hook_to_json` wrote."""
    return Hook(
        name=record["name"], module=record["module"], extension=record["extension"], function=record["function"]
    )


def opcache_to_json(state: Opcache) -> Json:
    """The code cache; times are ISO 8601."""
    return {
        **{name: getattr(state, name) for name in _OPCACHE},
        "started": state.started.isoformat() if state.started else None,
        "restarted": state.restarted.isoformat() if state.restarted else None,
    }


def opcache_from_json(record: Mapping[str, Any]) -> Opcache:
    """What `opcache_to_json` wrote."""
    return Opcache(
        **{name: record[name] for name in _OPCACHE},
        started=datetime.fromisoformat(record["started"]) if record["started"] else None,
        restarted=datetime.fromisoformat(record["restarted"]) if record["restarted"] else None,
    )


def heap_to_json(heap: HeapCheck) -> Json:
    """The heap check; slots are `0x…` text."""
    return {
        "state": heap.state,
        "reason": heap.reason,
        "chunks": heap.chunks,
        "blocks": heap.blocks,
        "bytes": heap.bytes,
        "faults": [_fault_to_json(fault) for fault in heap.faults],
    }


def heap_from_json(record: Mapping[str, Any]) -> HeapCheck:
    """What `heap_to_json` wrote."""
    return HeapCheck(
        state=record["state"],
        reason=record["reason"],
        chunks=record["chunks"],
        blocks=record["blocks"],
        bytes=record["bytes"],
        faults=tuple(_fault_from_json(fault) for fault in record["faults"]),
    )


def _fault_to_json(fault: HeapFault) -> Json:
    return {
        "what": fault.what,
        "verdict": fault.verdict,
        "confidence": fault.confidence.value,
        "slot": hex(fault.slot) if fault.slot is not None else None,
        "bin": fault.bin,
        "evidence": list(fault.evidence),
    }


def _fault_from_json(record: Mapping[str, Any]) -> HeapFault:
    return HeapFault(
        what=record["what"],
        verdict=record["verdict"],
        confidence=Confidence(record["confidence"]),
        slot=int(record["slot"], 16) if record["slot"] is not None else None,
        bin=record["bin"],
        evidence=tuple(record["evidence"]),
    )


def worker_to_json(worker: Worker) -> Json:
    """A process manager's worker; times are ISO 8601."""
    return {
        "pool": worker.pool,
        "started": worker.started.isoformat() if worker.started else None,
        "requests": worker.requests,
        "stage": worker.stage,
        "request_started": worker.request_started.isoformat() if worker.request_started else None,
    }


def worker_from_json(record: Mapping[str, Any]) -> Worker:
    """What `worker_to_json` wrote."""
    began = record["request_started"]
    return Worker(
        pool=record["pool"],
        started=datetime.fromisoformat(record["started"]) if record["started"] else None,
        requests=record["requests"],
        stage=record["stage"],
        request_started=datetime.fromisoformat(began) if began else None,
    )
