"""Where compiled programs are kept for the next run."""

import ml_collections


def add_compile_cache(config: ml_collections.ConfigDict) -> None:
    """Add the section compile_cache, which no result depends on."""
    config.compile_cache = ml_collections.ConfigDict()
    # folder of compiled programs; auto: VINTK_COMPILE_CACHE, or else the user's cache folder; off
    config.compile_cache.folder = "auto"
    # gigabytes that the folder may take; the programs that were not used for longest go first
    config.compile_cache.max_gb = 1.0
