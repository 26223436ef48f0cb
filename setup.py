"""The packages of a wheel: ours, and the files of configs/ as vintk_jax/configs, so that a config
is found by its name where there is no clone. Everything else is in pyproject.toml.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["vintk_jax*"]), "vintk_jax.configs"],
    package_dir={"vintk_jax.configs": "configs"},
)
