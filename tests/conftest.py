"""Options of the test run. One thread for torch: two on a busy machine spend their time waiting for each other."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reference", metavar="DIR", type=Path, help="recordings of original decoders to test against, instead of the known ones"
    )
