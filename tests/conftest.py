"""Options of the whole suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--whole` runs the tests marked so: complete matrices that take many minutes; see the help of the others."""
    parser.addoption("--write-golden", action="store_true", help="write pictures of the interface anew (tests/tui)")
    parser.addoption("--whole", action="store_true", help="run the complete matrices too (many minutes)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what is marked `whole`, unless asked for."""
    if config.getoption("--whole"):
        return
    for item in items:
        if "whole" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="only with --whole"))
