"""The reference pages written by hand have the commands, options and defaults that --help has, and no others."""

import re
from collections.abc import Iterator

import pytest

from manual.pages import ROOT
from manual.programs import Command, commands, find

COMMANDS = commands()
"""Asked here, when the module is read: asking imports `requests`, which tries a socket, and a unit test may not."""

WITH_COMMANDS = ("calicoctl", "dcos-etcdctl", "pkgpanda")
WITHOUT = ("calico-confd", "calico-felix", "calico-node")
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][a-z0-9-]*")
LINE = re.compile(r"^ {2,6}(-\S.*?)(?: {2,}(\S.*)|\n {20,}(\S.*))?$", re.MULTILINE)
"""An option's line in a help: its names with what they take, and what is said of it, there or on the next line."""


def rows(program: str, head: str) -> Iterator[list[str]]:
    """The cells of each row in the tables of a program's page whose first column is called so."""
    text = (ROOT / f"docs/reference/{program}.md").read_text()
    for table in re.findall(rf"^\| {head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE):
        for line in table.splitlines():
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def options_of(command: Command) -> set[str]:
    """Every name in its help's own lines, but for the help itself."""
    return {name for names, *_ in LINE.findall(command.help) for name in OPTION.findall(names)} - {"-h", "--help"}


def leaves(program: str) -> set[str]:
    """The commands of a program, without those that only have commands."""
    own = [command for command in COMMANDS if command.program.name == program and command.words]
    groups = {command.words[:-1] for command in own}
    return {command.title for command in own if command.words not in groups}


@pytest.mark.parametrize("program", WITH_COMMANDS)
def test_each_command_has_its_row_and_each_row_its_command(program: str) -> None:
    listed = [[find([program, *code.split()]) for code in codes(row[0])] for row in rows(program, "command")]
    titles = {command.title for row in listed for command in row if command}
    assert titles == leaves(program)


@pytest.mark.parametrize("program", WITH_COMMANDS)
def test_a_row_names_only_options_of_its_commands(program: str) -> None:
    for row in rows(program, "command"):
        known = {name for code in codes(row[0]) if (found := find([program, *code.split()])) for name in found.options}
        named = {name for cell in row for code in codes(cell) for name in OPTION.findall(code)}
        assert named <= known, row[0]


@pytest.mark.parametrize("program", WITHOUT)
def test_a_program_without_commands_has_all_its_options_on_its_page(program: str) -> None:
    (command,) = (each for each in COMMANDS if each.program.name == program)
    listed = {name for row in rows(program, "option") for code in codes(" ".join(row)) for name in OPTION.findall(code)}
    first = {name for row in rows(program, "option") for name in OPTION.findall(row[0])}
    assert first <= options_of(command) <= listed | {"-onetime"}


@pytest.mark.parametrize("program", ["calico-confd", "pkgpanda"])
def test_defaults_are_those_of_the_help(program: str) -> None:
    helps = [
        command.help for command in COMMANDS if command.program.name == program and command.help.count("\n  -") > 1
    ]
    for option, default, *_ in rows(program, "option"):
        value_and_more = default.partition(": ")[0]
        for value in codes(value_and_more) or re.findall(r"^\w+$", default):
            name = OPTION.findall(option)[0]
            for text in helps:
                (said,) = re.findall(rf"^ +(?:-\S+, )?{name}(?![\w-]).*(?:\n {{12,}}.*)*", text, re.MULTILINE)
                assert value.rpartition("/")[2] in said, (option, value, said)


def test_each_option_says_what_it_does() -> None:
    silent = [
        f"{command.title} {names}"
        for command in COMMANDS
        for names, same_line, next_line in LINE.findall(command.help)
        if "{" not in names and not (same_line + next_line).partition("(default")[0].strip()
    ]
    assert silent == []


def test_each_option_of_the_usage_has_a_line_and_each_line_is_in_the_usage() -> None:
    for command in COMMANDS:
        usage = set(OPTION.findall(command.help.partition("\n\n")[0]))
        if command.words or command.program.name in WITHOUT:
            assert usage - {"-h", "--help"} <= options_of(command), command.title
