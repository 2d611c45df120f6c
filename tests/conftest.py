"""Options of the test run."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reference", metavar="DIR", type=Path, help="recordings of original decoders to test against, instead of the known ones"
    )
