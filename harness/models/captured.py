"""Replaying a forward pass as a CUDA graph: the same kernels, without the time it takes to launch them one by one.

A graph is fixed to the shapes and addresses it was captured with, so that inputs are copied into tensors of its own. Callers keep
the number of shapes small. Not covered: which shapes those are (`denoiser`), and torch.compile.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

Inputs = Mapping[str, Tensor]

LIMIT = 96
"""Graphs kept at most; further shapes run without one."""


class Graph(Protocol):
    """What was captured: `replay` computes `output` anew from the inputs that it was captured with."""

    output: Tensor

    def replay(self) -> None: ...


class Captured:
    """Calls `function`, by replaying its capture where the shapes of the inputs were seen before.

    `capture` turns a function without arguments into a `Graph`. `static` values select the graph beside the shapes. The returned
    tensor is overwritten by the next call of the same shapes.
    """

    def __init__(self, function: Callable[..., Tensor], capture: "Callable[[Callable[[], Tensor]], Graph]") -> None:
        self._function, self._capture = function, capture
        self._graphs: dict[object, tuple[dict[str, Tensor], Graph]] = {}

    def __call__(self, static: tuple[int, ...], inputs: Inputs) -> Tensor:
        key = (static, tuple((name, tensor.shape, tensor.dtype) for name, tensor in inputs.items()))
        if key not in self._graphs:
            if len(self._graphs) >= LIMIT:
                return self._function(*static, **inputs)
            own = {name: tensor.clone() for name, tensor in inputs.items()}
            self._graphs[key] = own, self._capture(lambda: self._function(*static, **own))
        own, graph = self._graphs[key]
        for name, tensor in inputs.items():
            own[name].copy_(tensor, non_blocking=True)
        graph.replay()
        return graph.output

    def forget(self) -> None:
        """Drop all captures: what they read or write has moved."""
        self._graphs.clear()


class CudaGraph:
    """A capture on a CUDA device; all share one memory pool, since they never run at the same time."""

    _pool: Any = None

    def __init__(self, function: Callable[[], Tensor]) -> None:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        # Libraries choose kernels and allocate workspaces on their first calls, which must not be captured.
        with torch.cuda.stream(side):
            for _ in range(2):
                function()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=CudaGraph._pool):
            self.output = function()
        CudaGraph._pool = self._graph.pool()

    def replay(self) -> None:
        self._graph.replay()
