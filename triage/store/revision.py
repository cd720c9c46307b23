"""The number by which readers see that the store changed."""

from __future__ import annotations

from sqlalchemy import Connection, Select, select, update

from triage.store.tables import meta


def revision() -> Select[tuple[int]]:
    """One number."""
    return select(meta.c.value).where(meta.c.key == "revision")


_RAISED = update(meta).where(meta.c.key == "revision").values(value=meta.c.value + 1).returning(meta.c.value)


def raise_revision(connection: Connection) -> int:
    """Say that the store changed; returns its new revision. Done first, it also makes writers queue on this row."""
    return int(connection.execute(_RAISED).scalar_one())
