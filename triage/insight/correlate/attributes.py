"""What is compared: attributes of crashes and of healthy workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Attribute(NamedTuple):
    """One thing that is so: `("option", "opcache.jit", "tracing")`. `value` is empty where the name says it all."""

    family: str
    name: str
    value: str = ""

    @property
    def text(self) -> str:
        """`opcache.jit=tracing`, `extension xdebug 3.2.0`, `pool www`."""
        if self.family == "option":
            return f"{self.name}={self.value}"
        return " ".join(part for part in (self.family, self.name, self.value) if part)


@dataclass(frozen=True, slots=True)
class Unit:
    """One crash, or one configuration of healthy workers.

    `configuration` names what is set up alike: units that share it are no independent witnesses. `weight`
    is how many workers it stands for.
    """

    attributes: frozenset[Attribute]
    configuration: str
    weight: int = 1


class Masks(NamedTuple):
    """Which crashes (`cases`) and which controls have something: one bit each."""

    cases: int
    controls: int


def masks(cases: Iterable[Unit], controls: Iterable[Unit]) -> dict[Attribute, Masks]:
    """For each attribute who has it."""
    sides: tuple[dict[Attribute, int], dict[Attribute, int]] = ({}, {})
    for side, units in zip(sides, (cases, controls), strict=True):
        for at, unit in enumerate(units):
            for attribute in unit.attributes:
                side[attribute] = side.get(attribute, 0) | 1 << at
    # In an order of their own: a set's differs from run to run, and with it which of two equals would come first.
    return {one: Masks(sides[0].get(one, 0), sides[1].get(one, 0)) for one in sorted({*sides[0], *sides[1]})}
