"""What is made of a config's values: its digest, and a copy with another seed. Whether a workdir's
config may be another one says `workdir.config_claims`.
"""

import hashlib
import json
from collections.abc import Collection

import ml_collections

from vintk_jax.defaults.field import fields


def digest(config: ml_collections.ConfigDict, without: Collection[str] = ()) -> str:
    """A short fingerprint of a config's fields but some, the same for equal values in any order.

    Where compiled programs are kept (compile_cache) never counts.
    """
    kept = {
        name: value
        for name, value in sorted(fields(config))
        if name not in without and not name.startswith("compile_cache.")
    }
    return hashlib.sha256(json.dumps(kept, default=str).encode()).hexdigest()[:12]


def with_seed(config: ml_collections.ConfigDict, seed: int) -> ml_collections.ConfigDict:
    """A copy of a config with another seed."""
    copy = config.copy_and_resolve_references()
    copy.seed = seed
    return copy
