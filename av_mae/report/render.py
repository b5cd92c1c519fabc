"""Pages made of Jinja2 templates: all text is escaped, and a page holds everything it shows.

Text that a user chose (names of runs, files, classes) stands in `<bdi>`, so that right-to-left
marks in it do not reorder what stands beside it.
"""

import base64
import importlib.resources
import mimetypes
import pathlib
from typing import Any

import jinja2
from markupsafe import Markup

from av_mae.report import history, progress


def page(template: str, path: pathlib.Path, **values: Any) -> pathlib.Path:
    """Writes a whole page.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    history.write_whole(path, _ENVIRONMENT.get_template(template).render(values))
    return path


def part(template: str, **values: Any) -> Markup:
    """A piece of a page, to be put into another template."""
    return Markup(_ENVIRONMENT.get_template(template).render(values))


def data_uri(data: bytes, name: str) -> str:
    """Bytes as an address; the media type comes from the name's ending."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("av_mae.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    assets = importlib.resources.files("av_mae.report") / "assets"
    for name in ("page.css", "page.js"):
        text = (assets / name).read_text(encoding="utf-8")
        environment.globals[name.replace(".", "_")] = Markup(text)
    environment.filters |= {
        "thousands": "{:,}".format,
        "place": "{:.2%}".format,
        "short": progress.short,
        "score": progress.score,
        "duration": progress.duration,
        "stages": progress.stages,
        "data_uri": data_uri,
        "inline": lambda path: data_uri(path.read_bytes(), path.name),
    }
    return environment


_ENVIRONMENT = _environment()
