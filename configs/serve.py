"""A trained model, with its assigner where it has one, served over HTTP.

    python -m vintk_jax.serve --workdir runs/revit_digits
    python -m vintk_jax.serve --config configs/serve.py --workdir runs/revit_digits \
      --config.budget.max_drop=1 --config.http.port=8080

The workdir is the training's, or an exported folder. docs/service.md says more.
"""

import ml_collections

from vintk_jax.defaults.serve import serve


def get_config() -> ml_collections.ConfigDict:
    """For this machine alone, at port 8000."""
    return serve()
