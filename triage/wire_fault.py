"""The JSON of what was found: the refused access, and the findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triage.model import AccessKind, Confidence, Fault, Finding, Load, Operand, Topic

Json = dict[str, Any]


def finding_to_json(finding: Finding) -> Json:
    """A finding as CONTRACT.md has it, and its topic."""
    return {
        "rule": finding.rule,
        "title": finding.title,
        "confidence": finding.confidence.value,
        "evidence": list(finding.evidence),
        "explanation": finding.explanation,
        "next_steps": list(finding.next_steps),
        "topic": finding.topic.value,
    }


def finding_from_json(record: Mapping[str, Any]) -> Finding:
    """The exact inverse."""
    return Finding(
        rule=record["rule"],
        title=record["title"],
        confidence=Confidence(record["confidence"]),
        evidence=tuple(record["evidence"]),
        explanation=record["explanation"],
        next_steps=tuple(record["next_steps"]),
        topic=Topic(record.get("topic", Topic.FAULT)),
    )


def fault_to_json(fault: Fault) -> Json:
    """The access that was refused; addresses as hex text."""
    return {
        "kind": fault.kind.value,
        "address": hex(fault.address),
        "operand": _operand_to_json(fault.operand) if fault.operand else None,
        "load": _load_to_json(fault.load) if fault.load else None,
        "misaligned": fault.misaligned,
        "arrival": fault.arrival,
    }


def fault_from_json(record: Mapping[str, Any]) -> Fault:
    """The exact inverse."""
    return Fault(
        kind=AccessKind(record["kind"]),
        address=int(record["address"], 16),
        operand=_operand_from_json(record["operand"]) if record["operand"] else None,
        load=_load_from_json(record["load"]) if record["load"] else None,
        misaligned=record["misaligned"],
        arrival=record.get("arrival"),
    )


def _operand_to_json(operand: Operand) -> Json:
    return {
        "text": operand.text,
        "kind": operand.kind.value,
        "address": hex(operand.address),
        "size": operand.size,
        "base": operand.base,
        "base_value": hex(operand.base_value) if operand.base_value is not None else None,
        "displacement": operand.displacement,
        "aligned": operand.aligned,
    }


def _operand_from_json(record: Mapping[str, Any]) -> Operand:
    value = record["base_value"]
    return Operand(
        text=record["text"],
        kind=AccessKind(record["kind"]),
        address=int(record["address"], 16),
        size=record["size"],
        base=record["base"],
        base_value=int(value, 16) if value is not None else None,
        displacement=record["displacement"],
        aligned=record["aligned"],
    )


def _load_to_json(load: Load) -> Json:
    return {"register": load.register, "address": hex(load.address), "text": load.text, "at": hex(load.at)}


def _load_from_json(record: Mapping[str, Any]) -> Load:
    return Load(
        register=record["register"], address=int(record["address"], 16), text=record["text"],
        at=int(record["at"], 16),
    )  # fmt: skip
