"""Shared by the harness tests: the embedded model, loaded once."""

import pytest
import torch
from unmask.harness.models.model import Model, load_model


@pytest.fixture(scope="session")
def demo() -> Model:
    torch.set_num_threads(1)  # the model is tiny: see `SMALL_MODEL`
    return load_model("demo", device="cpu")
