"""Shared by the harness tests: the embedded model, loaded once."""

import pytest
from unmask.harness.models.model import Model, load_model


@pytest.fixture(scope="session")
def demo() -> Model:
    return load_model("demo", device="cpu")
