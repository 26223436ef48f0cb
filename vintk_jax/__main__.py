"""`python -m vintk_jax search ...` is `vintk search ...`."""

from vintk_jax.vintk_command import main

if __name__ == "__main__":
    main()
