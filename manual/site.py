"""The site: a page of HTML for each page of docs/ and for each program, the same bytes each time.

Pages stand alone: one style sheet, no script, nothing from elsewhere. Links between pages of Markdown become links
between those of HTML; links to files of the repository that are no pages are shown as text.
"""

import html
import os
import re
import shutil
from pathlib import Path

from markdown_it.token import Token

from manual.pages import ROOT, Page, reader
from manual.programs import PROGRAMS, Command, commands

STYLE = "style.css"
SECTIONS = ("tutorial", "how-to", "reference", "explanation")
_COMMANDS = "docs/reference/commands"

_CSS = """\
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; display: grid; grid-template-columns: 17rem minmax(0, 1fr); }
nav { padding: 1rem; border-right: 1px solid var(--line); font-size: .85rem; }
nav { height: 100vh; overflow: auto; position: sticky; top: 0; box-sizing: border-box; }
nav ul { list-style: none; margin: 0 0 1rem; padding: 0; }
nav b { text-transform: capitalize; }
nav a[aria-current] { font-weight: bold; }
main { padding: 1rem 2rem 4rem; max-width: 56rem; }
pre { background: var(--soft); padding: .7rem; overflow: auto; }
code { font: .88em ui-monospace, monospace; }
img { max-width: 100%; border: 1px solid var(--line); }
table { border-collapse: collapse; display: block; overflow: auto; }
td, th { border: 1px solid var(--line); padding: .3rem .6rem; vertical-align: top; text-align: left; }
@media (max-width: 50rem) { body { display: block; } nav { height: auto; position: static; } }
"""


def build(pages: list[Page], output: Path) -> list[Path]:
    """Write the site to `output`; what was written, sorted."""
    listed = [(section, page.name, page.title) for page in pages if (section := section_of(page.name))]
    listed += [("commands", f"{_COMMANDS}/{program.name}.md", program.name) for program in PROGRAMS]
    written = [_write(output / STYLE, _CSS)]
    written += [
        _write(output / target(page.name), _frame(page.name, page.title, _body(page), listed)) for page in pages
    ]
    written += [
        _copy(picture, output / picture.relative_to(ROOT)) for picture in sorted(ROOT.glob("docs/images/*.png"))
    ]
    for program in PROGRAMS:
        own = [command for command in commands() if command.program == program]
        name = f"{_COMMANDS}/{program.name}.md"
        written.append(_write(output / target(name), _frame(name, program.name, _program(own), listed)))
    return sorted(written)


def _copy(source: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)
    return path


def section_of(name: str) -> str:
    """The part of the site a page is in; empty for those at the top."""
    parts = name.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "docs" and parts[1] in SECTIONS else ""


def target(name: str) -> str:
    """The page's file on the site: README.md, there and in docs/, is an index."""
    base = name.removesuffix(".md")
    return f"{base.removesuffix('README')}index.html" if base.endswith("README") else f"{base}.html"


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _relative(start: str, goal: str) -> str:
    return os.path.relpath(goal, os.path.dirname(start) or ".")


def _frame(name: str, title: str, body: str, listed: list[tuple[str, str, str]]) -> str:
    here = target(name)
    parts = [f'<p><a href="{_relative(here, target("README.md"))}">dcos-calico</a></p>']
    for section in (*SECTIONS, "commands"):
        items = [
            f'<li><a href="{_relative(here, target(page))}"{" aria-current=page" if page == name else ""}>'
            f"{html.escape(text)}</a></li>"
            for where, page, text in listed
            if where == section
        ]
        parts.append(f"<b>{section}</b><ul>{''.join(items)}</ul>")
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(title)}</title>\n'
        f'<link rel="stylesheet" href="{_relative(here, STYLE)}">\n<nav>{"".join(parts)}</nav>\n'
        f"<main>\n{body}</main>\n</html>\n"
    )


def _body(page: Page) -> str:
    anchors = iter(page.headings)
    for token in page.tokens:
        if token.type == "heading_open":
            token.attrSet("id", next(anchors)[2])
        for child in token.children or ():
            _turn_link(page, child)
    renderer = reader()
    text: str = renderer.renderer.render(page.tokens, renderer.options, {})
    return text


def _turn_link(page: Page, token: Token) -> None:
    goal = token.attrGet("href")
    if not isinstance(goal, str) or "://" in goal or goal.startswith("#"):
        return
    path, mark, anchor = goal.partition("#")
    name = os.path.relpath((page.path.parent / path).resolve(), ROOT)
    if name.endswith(".md"):
        token.attrSet("href", _relative(target(page.name), target(name)) + mark + anchor)
    else:
        token.tag = "span"
        token.attrs = {"title": name}


def _program(own: list[Command]) -> str:
    """A program's page: what it and each of its commands say of themselves."""
    program = own[0].program
    parts = [f"<h1>{program.name}</h1>\n<p>Runs on: {program.where}.</p>\n"]
    for command in own:
        if command.words:
            parts.append(f'<h2 id="{anchor_of(command)}">{html.escape(command.title)}</h2>\n')
        parts.append(f"<pre><code>{html.escape(command.help)}</code></pre>\n")
    return "".join(parts)


def anchor_of(command: Command) -> str:
    """The anchor of a command on its program's page."""
    return re.sub(r"[^a-z0-9]+", "-", command.title)
