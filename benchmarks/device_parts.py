"""What `on_device` measures: kernels, candidates, train steps, adaptive inference.

Each part gives its measurements in the order in which they are wanted, as functions that return
figures. Nothing is made before such a function is called, so that one that fails or doesn't fit
takes only its own row along.
"""

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common, jax_kernels
from benchmarks.cases import data, torch_config, widest
from benchmarks.revits import revit, train_step
from benchmarks.train_speed import Case, forward_macs
from vintk_jax import ntk, spaces

Figures = dict[str, float]
_TF32 = ", TF32"
_DEIT_S = Case(224, (14, 10, 7), 384, 12, 6, 0)  # batches are named apart


class Measurement(NamedTuple):
    """One row of the table: the part, the case, who, and how it is measured."""

    part: str
    case: str
    who: str
    run: Callable[[], Figures]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        spaces: AutoFormers by name; depth: their blocks, 0 for as many as they have.
        image_sizes, images: of kernels, each with each.
        candidates: numbers of candidates a call.
        vit: of training and inference, with all its lengths; batches: of its train steps.
        served: batches of inference; served_images: how many go through, at least.
        rounds: of every measurement.
    """

    spaces: tuple[str, ...] = ("autoformer-tiny", "autoformer-small", "autoformer-base")
    depth: int = 0
    image_sizes: tuple[int, ...] = (64, 224)
    images: tuple[int, ...] = (16, 64)
    candidates: tuple[int, ...] = (1, 4, 16, 64)
    vit: Case = _DEIT_S
    batches: tuple[int, ...] = (256, 64, 1024)
    served: tuple[int, ...] = (32, 1, 256)
    served_images: int = 512
    rounds: int = 5


SMALL = Sizes(
    spaces=("autoformer-tiny",),
    depth=2,
    image_sizes=(32,),
    images=(4,),
    candidates=(1, 4),
    vit=Case(32, (8, 4), 32, 2, 2, 0),
    batches=(16,),
    served=(1, 8),
    served_images=16,
    rounds=2,
)


def seconds(run: Callable[[], Any], rounds: int) -> float:
    """Median of some calls, after one that isn't counted."""
    run()
    return common.alternate({"": run}, rounds)[""].median_s


def products(size: int, rounds: int) -> Iterator[Measurement]:
    """The rates of a matrix product, which shares of the peak refer to."""

    def rate(dtype: str, precision: str) -> Figures:
        x = jnp.ones((size, size), dtype)
        with jax.default_matmul_precision(precision):
            product = jax.jit(jnp.matmul).lower(x, x).compile()

        def run() -> None:
            jax.block_until_ready(product(x, x))

        taken = seconds(run, rounds)
        return {"TFLOP/s": 2 * size**3 / taken / 1e12}

    kinds = {"float32": "highest", "bfloat16": "default"}
    if jax.default_backend() != "cpu":
        kinds["TF32"] = "tensorfloat32"
    for name, precision in kinds.items():
        dtype = "bfloat16" if name == "bfloat16" else "float32"
        yield Measurement("product", f"{size} x {size}", name, partial(rate, dtype, precision))


def space_of(name: str, depth: int) -> Any:
    """An AutoFormer space, of fewer blocks where that is asked for."""
    space = spaces.get(name)
    return dataclasses.replace(space, depth=(depth,)) if depth else space


@lru_cache(maxsize=1)
def exact_kernel(name: str, depth: int, size: int, images: int) -> np.ndarray:
    """The kernel in float64, which others' errors refer to."""
    space = space_of(name, depth)
    variables = jax_kernels.variables_of(space, size)
    with jax.enable_x64(True):
        batch, direction = data(images, size)
        model = space.supernet(size, len(direction))
        run = partial(ntk.kernel, model, cotangent=jnp.float64(direction)[:, None], dtype="float64")
        return np.asarray(jax.jit(run)(variables, batch))


def error_of(kernel: Any, exact: np.ndarray) -> float:
    """Relative, in the Frobenius norm."""
    return float(np.linalg.norm(np.float64(kernel) - exact) / np.linalg.norm(exact))


def jax_kernel(contestant: str, sizes: Sizes, name: str, size: int, images: int) -> Figures:
    """Of ours or neural-tangents; "TF32" in the contestant's name for products in TF32."""
    space = space_of(name, sizes.depth)
    variables = jax_kernels.variables_of(space, size)
    batch, direction = data(images, size)
    precision = "tensorfloat32" if contestant.endswith(_TF32) else "highest"
    contestant = contestant.removesuffix(_TF32)
    ready = jax_kernels.prepare(contestant, space, variables, batch, direction, precision)
    figures = {"ms": 1e3 * seconds(ready.run, sizes.rounds), "compile s": ready.compile_s}
    figures["GiB"] = ready.needs / 2**30
    if contestant != jax_kernels.FLOOR and images == min(sizes.images):
        exact = exact_kernel(name, sizes.depth, size, images)
        figures["error"] = error_of(ready.run(), exact)
    return figures


def torch_kernel(sizes: Sizes, name: str, size: int, images: int) -> Figures:
    """PyTorch's vmap(grad), on its GPU if it has one."""
    import torch

    from benchmarks import torch_kernels
    from benchmarks.torch_autoformer import AutoFormer, Config, load_flax

    common.use_all_cores()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    space = space_of(name, sizes.depth)
    variables = jax.device_get(jax_kernels.variables_of(space, size))
    model = load_flax(AutoFormer(Config(**torch_config(widest(space), size))), variables)
    model = model.to(device)
    tensors = [tensor.to(device) for tensor in torch_kernels.tensors(*data(images, size))]

    def run() -> Any:
        return torch_kernels.vmap_grad(model, *tensors).cpu()

    figures = {"ms": 1e3 * seconds(run, sizes.rounds)}
    if device == "cuda":
        figures["GiB"] = torch.cuda.max_memory_allocated() / 2**30
    if images == min(sizes.images):
        figures["error"] = error_of(run().numpy(), exact_kernel(name, sizes.depth, size, images))
    return figures


def kernels(sizes: Sizes) -> Iterator[Measurement]:
    """Ours in float32 and TF32, our forward and backward pass, neural-tangents, PyTorch."""
    who = [jax_kernels.OURS, jax_kernels.FLOOR, *jax_kernels.NEURAL_TANGENTS]
    if jax.default_backend() != "cpu":
        who.insert(1, jax_kernels.OURS + _TF32)
    for images in sizes.images:
        for size in sizes.image_sizes:
            for name in sizes.spaces:
                case = f"{name.removeprefix('autoformer-')} {size} px, {images} images"
                for one in who:
                    run = partial(jax_kernel, one, sizes, name, size, images)
                    yield Measurement("kernel", case, one, run)
                if importlib.util.find_spec("torch"):
                    run = partial(torch_kernel, sizes, name, size, images)
                    yield Measurement("kernel", case, "PyTorch vmap(grad)", run)


def candidates(sizes: Sizes) -> Iterator[Measurement]:
    """Architectures of the smallest space scored a second, by how many go into a call."""
    from vintk_jax.proxies.base import Measurement as Wanted
    from vintk_jax.proxies.scorer import Scorer
    from vintk_jax.proxies.supernet import KernelSettings, Supernet

    size = min(sizes.image_sizes)
    images = min(sizes.images)

    def rate(count: int) -> Figures:
        space = space_of(sizes.spaces[0], sizes.depth)
        batch, _ = data(images, size)
        supernet = Supernet(space, {"plain": batch}, KernelSettings(), seed=0)
        scorer = Scorer(supernet, [Wanted("plain", "kernel")], batch_size=count)
        scorer.compile()
        rng = np.random.default_rng(0)
        archs = [space.sample(rng) for _ in range(scorer.batch_size)]
        taken = seconds(partial(scorer.measure, archs), sizes.rounds)
        return {"a second": len(archs) / taken, "GiB": scorer.peak_bytes / 2**30}

    for count in sizes.candidates:
        case = f"{sizes.spaces[0].removeprefix('autoformer-')} {size} px, {images} images"
        yield Measurement("candidates", case, f"{count} a call", partial(rate, count))


def training(sizes: Sizes) -> Iterator[Measurement]:
    """A train step of a ViT in bfloat16 by batch, its longest length alone and all together."""

    def rate(batch: int, lengths: tuple[int, ...]) -> Figures:
        size = sizes.vit.image_size
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (batch, size, size, 3), np.uint8)
        labels = rng.integers(0, 10, batch).astype(np.int32)
        run = train_step(sizes.vit, lengths, images, labels, jnp.bfloat16)
        taken = seconds(run, sizes.rounds)
        macs = 3 * batch * sum(forward_macs(sizes.vit, side) for side in lengths)
        return {"ms": 1e3 * taken, "a second": batch / taken, "TFLOP/s": 2 * macs / taken / 1e12}

    vit = f"width {sizes.vit.embed_dim}, depth {sizes.vit.depth}, bfloat16"
    for batch in sizes.batches:
        for lengths in (sizes.vit.lengths[:1], sizes.vit.lengths):
            tokens = "+".join(str(side**2) for side in lengths)
            who = f"batch {batch}, {tokens} tokens"
            yield Measurement("train step", vit, who, partial(rate, batch, lengths))


def inference(sizes: Sizes) -> Iterator[Measurement]:
    """Images a second at each length, and with lengths that differ by image, by the engine."""
    from vintk_jax.inference.engine import Engine
    from vintk_jax.inference.plans import Plans
    from vintk_jax.inference.predictor import Predictor
    from vintk_jax.tasks.model_spec import ModelSpec

    size = sizes.vit.image_size
    lengths = sizes.vit.lengths

    @lru_cache
    def plans() -> Plans:
        grids = tuple((side, side) for side in lengths)
        model = revit(sizes.vit, lengths, jnp.bfloat16)
        first = jnp.zeros((1, size, size, 3))
        params = jax.jit(lambda key: model.init(key, first, grids[0]))(jax.random.key(0))
        trained = ModelSpec(model, grids, size, "deit")
        return Plans(Predictor(trained, params, tuple(map(str, range(10)))))

    def rate(batch: int, length: str) -> Figures:
        count = max(sizes.served_images if batch > 1 else 64, batch)
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (count, size, size, 3), np.uint8)
        made = plans()
        drawn = rng.integers(0, len(lengths), count)
        plan = made.fixed(length) if length else made.known(drawn)
        engine = Engine(plan, (size, size, 3), (batch,))
        engine.warm_up()
        taken = seconds(partial(engine.all, images), sizes.rounds)
        cost = made.costs[made.names.index(length)] if length else np.take(made.costs, drawn).mean()
        return {"a second": count / taken, "share of the longest": float(cost)}

    vit = f"width {sizes.vit.embed_dim}, depth {sizes.vit.depth}, bfloat16"
    for batch in sizes.served:
        for side in lengths:
            name = str(side**2)
            who = f"batch {batch}, {name} tokens"
            yield Measurement("inference", vit, who, partial(rate, batch, name))
        who = f"batch {batch}, mixed lengths"
        yield Measurement("inference", vit, who, partial(rate, batch, ""))


def measurements(sizes: Sizes, product: int) -> list[Measurement]:
    """All of them, what matters most first: of kernels the fewest images, then the other parts,
    then the rest of the kernels.
    """
    of_kernels = list(kernels(sizes))
    fewest = [one for one in of_kernels if f", {min(sizes.images)} images" in one.case]
    rest = [one for one in of_kernels if one not in fewest]
    others = [*candidates(sizes), *training(sizes), *inference(sizes)]
    return [*products(product, sizes.rounds), *fewest, *others, *rest]
