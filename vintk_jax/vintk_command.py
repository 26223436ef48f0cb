"""The installed command: `vintk search --config vit_space`, and so on for all commands.

`vintk search` is `python -m vintk_jax.search`. Two more commands say what is there: `vintk configs`
and `vintk doctor`.
"""

import importlib
import sys
from importlib import metadata

from vintk_jax.command_line import run
from vintk_jax.errors import UserError, nearest
from vintk_jax.jax_settings import restart_with_large_pages

# Module and line of help of each command.
COMMANDS = {
    "adapt": ("adapt", "from a folder of images to an adaptive model, in one run"),
    "search": ("search", "rank architectures without training any"),
    "train": ("train", "train one, at one token length or several"),
    "assign": ("assign", "train the token-length assigner of a trained model"),
    "infer": ("infer", "predict; compare all ways to spend tokens"),
    "export": ("export", "write a trained model that runs elsewhere"),
    "serve": ("serve", "answer over HTTP, with a page to see it"),
    "rank": ("rank", "compare scores with trained accuracies"),
    "spectrum": ("spectrum", "see which frequencies a kernel sees"),
    "weights": ("weights.__main__", "take weights that others have trained"),
    "configs": ("show_configs", "list the configs that come with the package, or copy one"),
    "doctor": ("doctor", "say what this machine has, and what a command lacks"),
}
_LARGE_PAGES = ("search", "train", "assign", "infer")


def usage() -> str:
    """What `vintk --help` prints."""
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {meaning}" for name, (_, meaning) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: vintk COMMAND --config NAME_OR_FILE[:arg] [--config.FIELD=VALUE ...] "
            "[--workdir DIR]",
            "",
            *rows,
            "",
            "`vintk COMMAND --help` says more, and lists the fields of the config.",
        ]
    )


def dispatch(argv: list[str]) -> None:
    """Run the command that a command line names.

    Args:
        argv: with the program's name first.

    Raises:
        UserError: for no command, or one that there isn't.
    """
    name = argv[1] if len(argv) > 1 else "--help"
    if name in ("-h", "--help", "-help", "help"):
        print(usage())
        return
    if name == "--version":
        print(f"vintk_jax {metadata.version('vintk_jax')}")
        return
    if name not in COMMANDS:
        hint = nearest(name, COMMANDS)
        raise UserError(f"Expected one of {', '.join(COMMANDS)}, got {name!r}.{hint}")
    module, _ = COMMANDS[name]
    importlib.import_module(f"vintk_jax.{module}").main([f"vintk {name}", *argv[2:]])


def main() -> None:
    """The entry point."""
    if set(sys.argv[1:2]) & set(_LARGE_PAGES):
        restart_with_large_pages()
    run(dispatch)


if __name__ == "__main__":
    main()
