"""The commands of the documentation, for the tests that run them: what stands on a page is what runs.

A sample belongs to the test that asks for it with `commands_of`; `takers` finds those questions in the tests' source,
and tests/integration/manual runs every sample that nobody asks for.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from manual.pages import ROOT, Page, Sample

_BEFORE = re.compile(r"^(sudo )?(\.venv/bin/|/opt/mesosphere/bin/)?")


class Taker(NamedTuple):
    """A call of `commands_of`: where it stands, and what it asks for."""

    where: str
    page: str
    start: str

    def takes(self, sample: Sample) -> bool:
        """Whether the sample is one of those it gets."""
        return sample.page == self.page and _begins(typed(sample), self.start)


def typed(sample: Sample) -> str:
    """A sample's command without `sudo`, the directory of its program, and the comment behind it."""
    return _BEFORE.sub("", re.split(r"\s+#\s", sample.text)[0])


def commands_of(page: str, start: str, instead: Mapping[str, object] = MappingProxyType({})) -> list[str]:
    """Every command of a page (`docs/...`) with these first words, in order; a question without an answer is an error.

    `instead` has texts of the page (addresses, directories) and what stands for them in the test.
    """
    found = [text for text in map(typed, Page(ROOT / page).samples) if _begins(text, start)]
    assert found, f"{page} has no command that begins with {start!r}: the page or the test is to be changed"
    return [_replaced(text, instead) for text in found]


def _begins(text: str, start: str) -> bool:
    return f"{text} ".startswith(f"{start} ")


def _replaced(text: str, instead: Mapping[str, object]) -> str:
    for written, here in instead.items():
        text = text.replace(written, str(here))
    return text


def takers() -> Iterator[Taker]:
    """Every call of `commands_of` in tests that may run programs; its arguments are texts, or names of texts there."""
    for path in (path for suite in ("integration", "e2e") for path in sorted((ROOT / "tests" / suite).rglob("*.py"))):
        text = path.read_text()
        if "commands_of(" in text:
            yield from _calls(path.relative_to(ROOT).as_posix(), ast.parse(text))


def _calls(name: str, module: ast.Module) -> Iterator[Taker]:
    texts = {
        target.id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "commands_of":
            page, start = (_text(each, texts) for each in node.args[:2])
            yield Taker(f"{name}:{node.lineno}", page, start)


def _text(argument: ast.expr, texts: Mapping[str, object]) -> str:
    return str(argument.value if isinstance(argument, ast.Constant) else texts[ast.unparse(argument)])
