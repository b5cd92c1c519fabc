"""An HTML page as its tags and the text that a reader sees."""

import html.parser
import pathlib


class Parsed(html.parser.HTMLParser):
    """Checks that tags are closed in order.

    Attributes:
        tags: (name, attributes) in the order of the page.
        open: the tags that are still open; empty for a whole page.
        texts: (text, innermost open tag), without styles and scripts.
    """

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    @property
    def text(self) -> str:
        return " ".join(text for text, _ in self.texts)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if self.open and not {"style", "script"} & set(self.open):
            self.texts.append((data, self.open[-1]))
