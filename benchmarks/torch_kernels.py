"""Empirical NTKs in PyTorch: what people do today. Imports neither JAX nor our library.

Every function takes a model, a batch, and a direction v over the outputs; the kernel is the Gram
matrix of the samples' gradients of v'f. As a program, `python -m benchmarks.torch_kernels REQUEST`
runs one of them once in a fresh process and prints its peak memory.
"""

import json
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from benchmarks.cases import data
from benchmarks.common import peak_resident_bytes, use_all_cores
from benchmarks.torch_autoformer import AutoFormer, Config


def per_sample_loop(model: nn.Module, images: Tensor, direction: Tensor) -> Tensor:
    """One forward pass of the batch, then a backward pass per sample over the kept graph, as TE-NAS
    does.

    The gradients go into one matrix made beforehand, so that they exist once; TE-NAS's lists that
    are concatenated hold them twice.
    """
    params = list(model.parameters())
    outputs = model(images) @ direction
    gradients = images.new_empty(len(images), sum(p.numel() for p in params))
    for i, row in enumerate(gradients):
        torch.cat(
            [g.flatten() for g in torch.autograd.grad(outputs[i], params, retain_graph=True)],
            out=row,
        )
    return gradients @ gradients.T


def vmap_grad(model: nn.Module, images: Tensor, direction: Tensor) -> Tensor:
    """`vmap(grad)` of `torch.func` on a model made functional, then one Gram matrix a parameter,
    added up.
    """

    def output(params: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(model, params, (image[None],))[0] @ direction

    params = {name: p.detach() for name, p in model.named_parameters()}
    gradients = vmap(grad(output), in_dims=(None, 0))(params, images)
    return sum(g.flatten(1) @ g.flatten(1).T for g in gradients.values())


def forward_backward(model: nn.Module, images: Tensor, direction: Tensor) -> tuple[Tensor, ...]:
    """The gradient of the batch's summed output: one forward and one backward pass, no kernel."""
    return torch.autograd.grad((model(images) @ direction).sum(), list(model.parameters()))


LOOP = "PyTorch loop"
VMAP = "PyTorch vmap(grad)"
PLAIN = "PyTorch, forward + backward only"
CONTESTANTS = {LOOP: per_sample_loop, VMAP: vmap_grad, PLAIN: forward_backward}


def tensors(images: np.ndarray, direction: np.ndarray) -> tuple[Tensor, Tensor]:
    """Images in PyTorch's layout, and the direction."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), torch.from_numpy(direction)


def bytes_needed(contestant: str, model: nn.Module, samples: int) -> int:
    """The per-sample gradients that a contestant holds at once; the loop has one sample's twice."""
    gradients = 4 * sum(p.numel() for p in model.parameters())
    return gradients * {LOOP: samples + 1, VMAP: samples, PLAIN: 1}[contestant]


def main(request: dict[str, Any]) -> None:
    """Build the model of `config` and the data, run the contestant once if one is named, print the
    peak memory.
    """
    use_all_cores()
    model = AutoFormer(Config(**request["config"]))
    images, direction = tensors(*data(request["images"], 16 * request["config"]["grid"]))
    if request["contestant"]:
        CONTESTANTS[request["contestant"]](model, images, direction)
    print(json.dumps({"peak_bytes": peak_resident_bytes()}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
