"""The pages of docs/ and what is in them: titles, headings, links, and the commands in their blocks of shell."""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

_NO_WORD = re.compile(r"[^\w\- ]")


class Link(NamedTuple):
    """A link of a page: its line, where it leads, and the part behind `#`."""

    line: int
    target: str
    anchor: str


class Sample(NamedTuple):
    """One command of a block of shell: its page, its line, its text with continued lines joined."""

    page: str
    line: int
    text: str


class Page:
    """One Markdown file below `top`."""

    def __init__(self, path: Path, top: Path = ROOT) -> None:
        self.path = path
        self.name = path.relative_to(top).as_posix()
        self.text = path.read_text(encoding="utf-8")

    @cached_property
    def tokens(self) -> list[Token]:
        """What a reader of CommonMark, with tables, sees."""
        return reader().parse(self.text)

    @property
    def title(self) -> str:
        """The first heading's text."""
        return next((text for _, text, _ in self.headings), self.name)

    @cached_property
    def headings(self) -> list[tuple[int, str, str]]:
        """Level, text and anchor of every heading, anchors as GitHub makes them."""
        found: list[tuple[int, str, str]] = []
        for token, inline in zip(self.tokens, self.tokens[1:], strict=False):
            if token.type == "heading_open":
                text = _plain(inline)
                found.append((int(token.tag[1:]), text, _anchor(text, [each[2] for each in found])))
        return found

    @property
    def links(self) -> Iterator[Link]:
        """Every link and picture."""
        for token in self.tokens:
            for child in token.children or ():
                target = child.attrGet("href") or child.attrGet("src")
                if isinstance(target, str):
                    path, _, anchor = target.partition("#")
                    yield Link((token.map or [0])[0] + 1, path, anchor)

    def blocks(self, mark: str = "sh") -> Iterator["Block"]:
        """The blocks with this mark."""
        for token in self.tokens:
            if token.type == "fence" and token.info.strip() == mark:
                yield Block(self.name, (token.map or [0])[0] + 2, token.content)

    @property
    def samples(self) -> Iterator[Sample]:
        """Every command of those blocks, comments left out."""
        for block in self.blocks():
            yield from block.samples

    @property
    def codes(self) -> Iterator[tuple[int, str]]:
        """Line and text of every `code` within a text."""
        for token in self.tokens:
            for child in token.children or ():
                if child.type == "code_inline":
                    yield (token.map or [0])[0] + 1, child.content


class Block(NamedTuple):
    """A block as it stands: its page, its first line, its text."""

    page: str
    line: int
    text: str

    @property
    def samples(self) -> Iterator[Sample]:
        """The commands of a block of shell."""
        return _samples(*self)


def _samples(page: str, first: int, content: str) -> Iterator[Sample]:
    waiting, start = "", 0
    for number, line in enumerate(content.splitlines(), first):
        text = line.strip()
        if not waiting and (not text or text.startswith("#")):
            continue
        start = start or number
        waiting += text.removesuffix("\\").rstrip() + " " if text.endswith("\\") else text
        if not text.endswith("\\"):
            yield Sample(page, start, waiting)
            waiting, start = "", 0


def reader() -> MarkdownIt:
    """CommonMark with tables; HTML in a page is text."""
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _plain(token: Token) -> str:
    return "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))


def _anchor(text: str, taken: list[str]) -> str:
    base = _NO_WORD.sub("", text.lower()).replace(" ", "-")
    number, anchor = 0, base
    while anchor in taken:
        number += 1
        anchor = f"{base}-{number}"
    return anchor


def read() -> list[Page]:
    """README, CHANGELOG and everything below docs/, by name."""
    paths = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")]
    return sorted((Page(path) for path in paths), key=lambda page: page.name)
