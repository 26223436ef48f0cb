"""Empirical NTKs in PyTorch: what people do today. Imports neither JAX nor our library.

Every function takes a model, a batch, and a direction v over the outputs; the kernel is the Gram matrix of the samples' gradients of v'f.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap


def per_sample_loop(model: nn.Module, images: Tensor, direction: Tensor) -> Tensor:
    """One forward pass of the batch, then a backward pass per sample over the kept graph, as TE-NAS does.

    The gradients go into one matrix made beforehand, so that they exist once; TE-NAS's lists that are concatenated hold them twice.
    """
    params = list(model.parameters())
    outputs = model(images) @ direction
    gradients = images.new_empty(len(images), sum(p.numel() for p in params))
    for i, row in enumerate(gradients):
        torch.cat([g.flatten() for g in torch.autograd.grad(outputs[i], params, retain_graph=True)], out=row)
    return gradients @ gradients.T


def vmap_grad(model: nn.Module, images: Tensor, direction: Tensor) -> Tensor:
    """`vmap(grad)` of `torch.func` on a model made functional, then one Gram matrix a parameter, added up."""

    def output(params: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(model, params, (image[None],))[0] @ direction

    params = {name: p.detach() for name, p in model.named_parameters()}
    gradients = vmap(grad(output), in_dims=(None, 0))(params, images)
    return sum(g.flatten(1) @ g.flatten(1).T for g in gradients.values())


def forward_backward(model: nn.Module, images: Tensor, direction: Tensor) -> tuple[Tensor, ...]:
    """The gradient of the batch's summed output: one forward and one backward pass, no kernel."""
    return torch.autograd.grad((model(images) @ direction).sum(), list(model.parameters()))


KERNELS = {"PyTorch loop": per_sample_loop, "PyTorch vmap(grad)": vmap_grad}
