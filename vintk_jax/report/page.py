"""Web pages from templates: one file that needs nothing beside itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vintk_jax.files import write_atomically


def write_page(path: Path, template: str, **values: Any) -> None:
    """Render a template of `templates/` into a file, in place of an older one. A missing value is
    an error.
    """
    write_atomically(Path(path), render(template, **values).encode())


def render(template: str, *, autoescape: bool = True, **values: Any) -> str:
    """The text of a template of `templates/`.

    Args:
        autoescape: whether values are HTML's text.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def as_yaml(config: Mapping[str, Any]) -> str:
    """A configuration to read."""
    import yaml

    return yaml.safe_dump(
        json.loads(json.dumps(config, default=str)), sort_keys=False, allow_unicode=True
    )
