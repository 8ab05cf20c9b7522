"""What every page of ours is made of: pictures and assets in the file itself, escaped text."""

from __future__ import annotations

import base64
import hashlib
import os
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from coderm_reward.errors import OutputError
from coderm_reward.report.text import clip, visible

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["assets", "data_uri", "template", "write_page"]


def write_page(path: Path, page: str) -> None:
    """Write a page to `path`, whole or not at all, creating missing folders.

    Raises:
        OutputError: `path` cannot be written.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(page.encode())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(
            f"The report {path} cannot be written ({reason}); name another file for it."
        ) from None


def assets() -> dict[str, Markup | str]:
    """Return the style and the script of our pages, with the hash by which their policy allows the script."""
    script = _asset("page.js")
    return {
        "style": Markup(_asset("page.css")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def data_uri(kind: str, data: bytes) -> Markup:
    """Return `data` as a link that holds it."""
    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode()}")


@cache
def template(name: str) -> Template:
    """Return a template of this package: it escapes everything that is not Markup."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clip=clip, num=_number, percent=_percent)
    return environment.from_string(_asset(name))


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _finalize(value: Any) -> Any:
    """Make every text visible on its way out; what is Markup was escaped by us."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
