"""What trainers keep beside the policy is sharded too: two processes make the update that one process makes.

The same tolerance, and a large `eps` for the same reason, as in `test_sharding`.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from .runs import metrics, train
from .test_sharding import CHANGES, furthest, torchrun


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"name": "tracerl", "value": "separate", "value_lr": 1e-3, "kl": "reference"},
        {"name": "tracerl", "value": "shared", "value_lr": 1e-3, "gradient_checkpointing": True, "micro_tokens": 512},
        {"name": "coupled", "match": "compute"},
    ],
)
def test_two_processes_make_the_update_of_one(tmp_path: Path, options: dict[str, Any]) -> None:
    threads = torch.get_num_threads()
    trainer = {"lr": 1e-3, "eps": 1e-2, **options}
    done = torchrun(2, tmp_path, "two", trainer=trainer, **CHANGES)
    assert done.returncode == 0, done.stderr[-2000:]
    assert train(tmp_path, out="one", trainer=trainer, **CHANGES) == 0
    assert furthest(tmp_path / "one", tmp_path / "two") < 1e-5
    for ours, theirs in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), strict=True):
        assert theirs.keys() == ours.keys()
        for name in {"tokens_forwarded", "tokens_trained", "kl", "entropy", "explained_variance", "grad_norm"} & ours.keys():
            assert theirs[name] == pytest.approx(ours[name], rel=1e-3, abs=1e-5), name
    torch.set_num_threads(threads)
