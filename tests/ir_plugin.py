"""`pytest --bless` writes what the passes give now into tests/ir/*.ir; read the diff before committing it."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite the expected outputs in tests/ir/*.ir")
