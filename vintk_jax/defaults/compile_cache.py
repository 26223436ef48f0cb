"""Where compiled programs are kept for the next run."""

import ml_collections

from vintk_jax.defaults.field import Field, add_fields
from vintk_jax.defaults.rules import CHECKED_WHERE_USED, NOT_NEGATIVE

COMPILE_CACHE = {
    "compile_cache.folder": Field(
        "auto",
        "folder of compiled programs; auto: the one that the variable VINTK_COMPILE_CACHE names, "
        "or else the user's cache folder; off: none",
        CHECKED_WHERE_USED,
    ),
    "compile_cache.max_gb": Field(
        1.0,
        "gigabytes that the folder may take; the programs that were not used for longest are "
        "removed first",
        NOT_NEGATIVE,
    ),
}


def add_compile_cache(config: ml_collections.ConfigDict) -> None:
    """Add the section compile_cache, which no result depends on, to a config of your own."""
    add_fields(config, COMPILE_CACHE)
