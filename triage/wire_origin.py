"""The JSON of where a core came from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from triage.model import Origin

Json = dict[str, Any]


def origin_to_json(origin: Origin) -> Json:
    """Names as in the record; the time as ISO 8601 in UTC."""
    return {
        "kind": origin.kind,
        "compression": origin.compression,
        "time": origin.time.astimezone(UTC).isoformat().replace("+00:00", "Z") if origin.time else None,
        "time_from": origin.time_from,
        "host": origin.host,
        "pid": origin.pid,
        "user": origin.user,
        "executable": origin.executable,
        "arguments": list(origin.arguments),
        "container": origin.container,
        "unit": origin.unit,
        "package": origin.package,
        "occurrences": origin.occurrences,
    }


def origin_from_json(record: Mapping[str, Any]) -> Origin:
    """The exact inverse."""
    return Origin(
        kind=record["kind"],
        compression=record["compression"],
        time=datetime.fromisoformat(record["time"]) if record["time"] else None,
        time_from=record["time_from"],
        host=record["host"],
        pid=record["pid"],
        user=record["user"],
        executable=record["executable"],
        arguments=tuple(record["arguments"]),
        container=record["container"],
        unit=record["unit"],
        package=record["package"],
        occurrences=record["occurrences"],
    )
