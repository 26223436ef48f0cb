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
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_atomically(Path(path), environment.get_template(template).render(**values).encode())


def as_yaml(config: Mapping[str, Any]) -> str:
    """A configuration to read."""
    import yaml

    return yaml.safe_dump(
        json.loads(json.dumps(config, default=str)), sort_keys=False, allow_unicode=True
    )
