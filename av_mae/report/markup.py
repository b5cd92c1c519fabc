"""Pieces of HTML that both pages share; everything a page shows is inlined in it."""

import base64
import html
import mimetypes
from collections.abc import Iterable, Sequence

from av_mae.report import style

# The page may load nothing: a browser enforces what the writer promises.
_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)


class Html(str):
    """Text that is markup already; `escape` leaves it alone."""


def document(title: str, body: str) -> str:
    """A whole page, light or dark as the reader's system is."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style.CSS}</style></head>\n"
        f"<body><main>\n{body}\n</main><script>{style.SCRIPT}</script></body></html>\n"
    )


def escape(text: object) -> str:
    """Any value as text that is safe in an element and in a quoted attribute."""
    return text if isinstance(text, Html) else html.escape(str(text))


def code(text: str) -> Html:
    """What somebody may copy into a terminal."""
    return Html(f"<code>{html.escape(text)}</code>")


def section(title: str, content: str) -> str:
    """A heading and what belongs to it; empty text for empty content."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>\n" if content else ""


def empty(text: str) -> str:
    """What stands where there is nothing to show yet."""
    return f'<p class="empty">{escape(text)}</p>'


def chips(texts: Iterable[tuple[str, str]]) -> str:
    """Small labels, each (text, class)."""
    made = (f'<span class="chip {kind}">{escape(text)}</span>' for text, kind in texts)
    return f'<div class="chips">{"".join(made)}</div>'


def tile(name: str, value: str, more: str) -> str:
    """A big number with its name above and a remark below."""
    return (
        f'<div class="card tile"><p class="name">{escape(name)}</p>'
        f'<p class="value">{escape(value)}</p><p class="more">{escape(more)}</p></div>'
    )


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values below each other; values that are empty are left out."""
    rows = (
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
        for name, value in pairs
        if value not in (None, "")
    )
    return f'<dl class="facts">{"".join(rows)}</dl>'


def table(head: Sequence[tuple[str, str]], rows: Iterable[str]) -> str:
    """A card with a table; `head` is (text, class) by column, rows are whole `<tr>`."""
    cells = "".join(f'<th class="{kind}">{escape(text)}</th>' for text, kind in head)
    return (
        f'<div class="card scroll"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def data_uri(data: bytes, name: str) -> str:
    """Bytes as an address; the type comes from the name's ending."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
