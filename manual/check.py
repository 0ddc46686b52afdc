"""What is wrong with the pages: links that lead nowhere, and commands and options that are none."""

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from manual.pages import ROOT, Page
from manual.programs import Command, commands, find
from pkgpanda.errors import Problem

_OPTION = re.compile(r"--[a-z][a-z0-9-]*|-[A-Za-z]")
_INSTALL_SCRIPTS = ("dcos_install.sh", "dcos_node_upgrade.sh")
_BEFORE = ("sudo", "env")
_ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>"}


def check(pages: list[Page]) -> list[Problem]:
    """Every problem, by page and line."""
    known = {page.path: page for page in pages}
    return sorted(problem for page in pages for look in _LOOKS for problem in look(page, known))


def _links(page: Page, known: dict[Path, Page]) -> Iterator[Problem]:
    for link in page.links:
        if "://" in link.target or link.target.startswith("mailto:"):
            continue
        path = (page.path.parent / link.target).resolve() if link.target else page.path
        where = f"{page.name}:{link.line}"
        if not path.exists():
            yield Problem(where, f"links to {link.target}, which is not there")
        elif link.anchor and path in known and link.anchor not in [anchor for _, _, anchor in known[path].headings]:
            yield Problem(where, f"links to the heading #{link.anchor} of {known[path].name}, which it does not have")


def _samples(page: Page, _known: dict[Path, Page]) -> Iterator[Problem]:
    for sample in page.samples:
        where = f"{sample.page}:{sample.line}"
        try:
            calls = list(split(sample.text))
        except ValueError as error:
            yield Problem(where, f"is no line of shell: {error}")
        else:
            yield from _calls(where, calls)


def _mentions(page: Page, _known: dict[Path, Page]) -> Iterator[Problem]:
    """Commands within sentences and tables. What is no line of shell is none of them."""
    for line, text in page.codes:
        with contextlib.suppress(ValueError):
            yield from _calls(f"{page.name}:{line}", list(split(text)))


def _unmarked(page: Page, _known: dict[Path, Page]) -> Iterator[Problem]:
    """A command in a block without a mark would not be run, but for what somebody saw: `$ ...`, and the answer."""
    for block in page.blocks(""):
        lines = list(enumerate(block.text.splitlines(), block.line))
        typed = [(line, text.removeprefix("$ ")) for line, text in lines if text.startswith("$ ")]
        for line, text in typed or lines:
            with contextlib.suppress(ValueError):
                calls = list(split(text))
                yield from _calls(f"{page.name}:{line}", calls)
                if not typed and any(map(find, calls)):
                    yield Problem(f"{page.name}:{line}", f"{text} is in a block without a mark", "mark the block sh")


_LOOKS = (_links, _samples, _mentions, _unmarked)


def _calls(where: str, calls: list[list[str]]) -> Iterator[Problem]:
    for words in calls:
        if words[0] == "make":
            yield from _make(where, words)
        elif script := next((word for word in words[:2] if word.rpartition("/")[2] in _INSTALL_SCRIPTS), None):
            yield from _script(where, script.rpartition("/")[2], words)
        elif (command := find(words)) is not None:
            yield from _options(where, command, words)


def split(text: str) -> Iterator[list[str]]:
    """The commands of a line of shell, each as words, without `sudo`, assignments and comments."""
    reader = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    reader.whitespace_split = True
    words: list[str] = []
    for word in [*reader, ";"]:
        if word in _ENDS:
            while words and (words[0] in _BEFORE or re.fullmatch(r"[A-Z_]+=.*", words[0])):
                words.pop(0)
            if words:
                yield words
            words = []
        else:
            words.append(word)


def _options(where: str, command: Command, words: list[str]) -> Iterator[Problem]:
    rest = words[len(command.words) + 1 :]
    group = [each for each in commands() if each.program == command.program and each.words[:1] == tuple(rest[:1])]
    if not command.words and rest and not group and _is_command(command, rest[0]):
        yield Problem(where, f"{command.program.name} has no command {rest[0]}", "see its --help")
        return
    # Of commands that come with a second word, all of whose options count where only the first is given.
    known = {"--help", "-h"}.union(command.options, *(each.options for each in group if not command.words))
    for word in rest:
        if word == "--":
            return
        option = word.partition("=")[0]
        if _OPTION.fullmatch(option) and option not in known:
            title = " ".join((command.title, *rest[:1])) if group else command.title
            yield Problem(where, f"{title} has no option {option}", "see its --help")


def _is_command(command: Command, word: str) -> bool:
    """Whether a program's first argument means a command: some have none, and COMMAND stands for any."""
    has_commands = any(each.words for each in commands() if each.program == command.program)
    return has_commands and not word.startswith("-") and not word.isupper()


def _make(where: str, words: list[str]) -> Iterator[Problem]:
    targets = set(re.findall(r"^([a-z$(][^\s:=]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for word in words[1:]:
        if "=" not in word and word not in targets and word != ".venv/.bundle":
            yield Problem(where, f"the Makefile has no target {word}")


def _script(where: str, name: str, words: list[str]) -> Iterator[Problem]:
    text = (ROOT / f"gen/templates/{name}.jinja").read_text()
    usage = text[text.index("<<'USAGE'") : text.index("\nUSAGE\n")]
    known = set(_OPTION.findall(usage))
    for word in words:
        if word.startswith("--") and word.partition("=")[0] not in known | {"--"}:
            yield Problem(where, f"{name} has no option {word}", "see its --help")
