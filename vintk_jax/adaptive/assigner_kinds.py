"""Either kind of assigner, by the kind of its network."""

from vintk_jax.adaptive.assigner import Assigner
from vintk_jax.adaptive.assigner_networks import make, reads_features
from vintk_jax.adaptive.feature_assigner import FeatureAssigner
from vintk_jax.adaptive.thumbnail_assigner import ThumbnailAssigner


def make_assigner(
    kind: str,
    width: int,
    target: str,
    thumbnail: int,
    earlier_weight: int | float,
    costs: tuple[float, ...],
    costs_alone: tuple[float, ...] | None = None,
    classes: int = 0,
) -> Assigner:
    """An assigner that isn't trained yet.

    Args:
        kind: of its network, one of `assigner_networks.KINDS`.
        width: of the network's layers.
        earlier_weight: see `Assigner`; only one that reads features has it.
        costs: see `Assigner`; costs_alone: with the passes that lengths begin with, for one that is
            asked before any; None where each is one pass.
        classes: of the model; only a network that reads how sure the model is needs it.

    Raises:
        UserError: for another kind, or sizes that don't fit.
    """
    module = make(kind, len(costs), width, thumbnail, classes)
    if reads_features(module):
        return FeatureAssigner(module, (), target, thumbnail, earlier_weight, tuple(costs))
    costs = costs if costs_alone is None else costs_alone
    return ThumbnailAssigner(module, (), target, thumbnail, 0.0, tuple(costs))
