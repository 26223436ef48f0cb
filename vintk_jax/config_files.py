"""Where config files are: here, or shipped with the package."""

import ast
import re
from pathlib import Path

from vintk_jax.errors import UserError, nearest

_PACKAGE = Path(__file__).parent


def shipped() -> dict[str, Path]:
    """The config files that come with the package, by name."""
    # A wheel has them inside the package, a clone beside it.
    for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs"):
        files = sorted(folder.glob("*.py"))
        if files:
            return {file.stem: file for file in files}
    return {}


def locate(named: str) -> Path:
    """The file that a command line means.

    Args:
        named: a path, or the name of a config: vit_space, or configs/vit_space.py where there is no
            such file, means configs/vit_space.py here, else the one that is shipped.

    Raises:
        UserError: where there is neither.
    """
    path = Path(named)
    if path.is_file():
        return path
    is_name = path.suffix in ("", ".py") and str(path.parent) in (".", "configs")
    here = Path("configs") / f"{path.stem}.py"
    if is_name and here.is_file():
        return here
    configs = shipped()
    if is_name and path.stem in configs:
        return configs[path.stem]
    raise UserError(
        f"Expected a config file, got {named}, which isn't there.{nearest(path.stem, configs)} "
        f"With the package come {', '.join(configs)}."
    )


def first_sentence(path: Path) -> str:
    """What a config file is for: the first sentence of its docstring."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"\.\s(?=[A-Z])", paragraph)[0].rstrip(".")
