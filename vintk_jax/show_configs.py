"""`vintk configs` lists the configs that come with the package.

`vintk configs NAME` prints one; `vintk configs NAME --copy` writes it into this folder, to be
edited.
"""

from pathlib import Path

from vintk_jax.config_files import first_sentence, shipped
from vintk_jax.errors import UserError, nearest

_COPY = "--copy"


def main(argv: list[str]) -> None:
    """List, print or copy.

    Args:
        argv: with the program's name first.

    Raises:
        UserError: for a config that there isn't, a word that isn't known, or a file that is there.
    """
    words = argv[1:]
    if any(word in ("-h", "--help", "-help") for word in words):
        print(__doc__.strip())
        return
    names = [word for word in words if word != _COPY]
    if len(names) > 1 or any(name.startswith("-") for name in names):
        raise UserError(f"Expected one name of a config, and perhaps {_COPY}, got {words}.")
    configs = shipped()
    if not names:
        if _COPY in words:
            raise UserError(f"Expected the name of a config before {_COPY}, got none.")
        _list(configs)
        return
    (name,) = names
    if name not in configs:
        raise UserError(
            f"Expected one of {', '.join(configs)}, got {name!r}.{nearest(name, configs)}"
        )
    if _COPY in words:
        _copy(configs[name], Path(f"{name}.py"))
    else:
        print(configs[name].read_text(), end="")


def _list(configs: dict[str, Path]) -> None:
    import rich.box
    from rich.table import Table

    from vintk_jax.report.console import make_console

    table = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("config", no_wrap=True)
    table.add_column("what it is for")
    for name, path in configs.items():
        table.add_row(name, first_sentence(path))
    console = make_console()
    console.print(table)
    console.print(f"`vintk configs NAME {_COPY}` writes one into this folder, to be edited.")


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        raise UserError(f"{target} is there already. Move it away, or edit it.")
    target.write_text(source.read_text())
    print(f"Copied to {target}. Use it: --config {target}")
