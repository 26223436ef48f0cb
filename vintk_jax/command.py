"""What every command begins with."""

import functools
from collections.abc import Callable

from vintk_jax import config as configs
from vintk_jax.config import Invocation


def command(
    name: str, *, about: str, default_config: str
) -> Callable[[Callable[[Invocation], None]], Callable[[list[str]], None]]:
    """Make a command's `main(argv)` of a function that takes a parsed command line.

    The function is not called where help was asked for. It is called before JAX is imported, and
    sets JAX up itself (`set_up`).

    Args:
        name: of the command, as in `python -m vintk_jax.NAME`.
        about: what it does, for --help.
        default_config: the file whose fields --help shows when none is named.
    """

    def decorate(work: Callable[[Invocation], None]) -> Callable[[list[str]], None]:
        @functools.wraps(work)
        def main(argv: list[str]) -> None:
            invocation = configs.parse(
                argv, command=name, about=about, default_config=default_config
            )
            if invocation is not None:
                work(invocation)

        return main

    return decorate
