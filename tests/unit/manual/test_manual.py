"""The documentation: its links, its samples, the site made of it, and tables that must be what the code says."""

import html
import re
from pathlib import Path

import pytest
import requests

from gen.install import ports
from gen.parameters import defaults
from manual import pages, site
from manual.check import check, split
from manual.pages import ROOT, Page
from manual.programs import PROGRAMS, commands, find

assert requests
"""Imported here, with the module: when it is first imported it tries a socket, which a unit test may not."""

_HREF = re.compile(r'href="([^"]*)"')


@pytest.fixture(scope="module")
def read() -> list[Page]:
    return pages.read()


@pytest.fixture(scope="module")
def built(read: list[Page], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("site")
    site.build(read, output)
    return output


def test_every_page_is_in_order(read: list[Page]) -> None:
    assert list(map(str, check(read))) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[x](none.md)", "links to none.md, which is not there"),
        ("[x](#none)", "links to the heading #none"),
        ("[x](README.md#none)", "links to the heading #none"),
        ("```sh\ngen frobnicate\n```", "gen has no command frobnicate"),
        ("```sh\ngen validate config.yaml --nosuch\n```", "gen validate has no option --nosuch"),
        ("```sh\nsudo .venv/bin/lab up --agentz 3\n```", "lab up has no option --agentz"),
        ("```sh\ntrue && calicoctl ipam check --force\n```", "calicoctl ipam check has no option --force"),
        ("```sh\nmake nosuch\n```", "the Makefile has no target nosuch"),
        ("```sh\nbash dcos_install.sh --nosuch master\n```", "dcos_install.sh has no option --nosuch"),
        ("```sh\necho 'open\n```", "is no line of shell"),
        ("`gen validate c.yaml --nosuch` in a sentence", "gen validate has no option --nosuch"),
        ("| a |\n|---|\n| `calicoctl migrate --nosuch` |", "calicoctl migrate has no option --nosuch"),
        ("```\n$ calicoctl ipam check --nosuch\nseen\n```", "calicoctl ipam check has no option --nosuch"),
        ("```\ncalicoctl ipam check\n```", "is in a block without a mark"),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "page.md").write_text(f"# Page\n\n{text}\n")
    (tmp_path / "README.md").write_text("# Other\n")
    found = check([Page(tmp_path / "page.md", tmp_path), Page(tmp_path / "README.md", tmp_path)])
    assert len(found) == 1 and told in str(found[0])


@pytest.mark.parametrize(
    "text",
    [
        "[x](README.md#a-heading-of-gens) [y](https://example.org) [z](#page)",
        "```sh\n# a comment\ngen validate c.yaml --format json   # another\n```",
        "```sh\nmake bundle CONFIG=x\nlab exec agent1 -- calicoctl --nosuch\nbash dcos_install.sh --upgrade\n```",
        "```text\ngen frobnicate\n```",
        "`calicoctl migrate --back`, `pkgpanda COMMAND --help`, `it's` and `calico-node`",
        "```\n$ calicoctl node status\ncalicoctl says\n```",
        "```sh\ncalicoctl get pool \\\n  -o wide\n```",
    ],
)
def test_what_is_right_is_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "page.md").write_text(f"# Page\n\n{text}\n")
    (tmp_path / "README.md").write_text("# Other\n\n## A heading of `gen`'s\n")
    assert check([Page(tmp_path / "page.md", tmp_path), Page(tmp_path / "README.md", tmp_path)]) == []


def test_a_line_of_shell_is_taken_apart() -> None:
    assert list(split("sudo A=1 x -y 'a b' | z; w && v >f # c")) == [["x", "-y", "a b"], ["z"], ["w"], ["v"], ["f"]]


def test_every_program_has_its_commands_and_each_an_example_or_exit_status() -> None:
    titles = {command.title for command in commands()}
    assert {program.name for program in PROGRAMS} <= titles
    wanted = {"gen pki init", "release upgrade-script", "lab story", "pkgpanda verify-release", "calicoctl ipam check"}
    assert wanted <= titles
    assert all(command.help.lower().startswith("usage: ") for command in commands())


def test_every_launcher_of_a_node_is_a_program_or_named_as_none() -> None:
    launchers = {path.name for path in (ROOT / "packages/calico/extra/bin").iterdir()}
    assert launchers - {program.name for program in PROGRAMS} <= {"calico-guard", "calico-libnetwork-plugin"}


def test_a_command_line_finds_its_command() -> None:
    for words, title in (
        (["gen", "pki", "init", "x"], "gen pki init"),
        ([".venv/bin/release", "list"], "release list"),
        (["/opt/mesosphere/bin/calicoctl", "node", "diags"], "calicoctl node diags"),
        (["calicoctl", "get", "node"], "calicoctl get"),
    ):
        command = find(words)
        assert command is not None and command.title == title
    assert find(["ls"]) is None


def test_the_site_has_a_page_for_each_command_with_its_own_help(built: Path) -> None:
    for command in commands():
        page = (built / f"docs/reference/commands/{command.program.name}.html").read_text()
        assert f"<pre><code>{html.escape(command.help)}</code></pre>" in page, command.title
        assert not command.words or f'id="{site.anchor_of(command)}"' in page


def test_no_link_of_the_site_leads_nowhere(built: Path) -> None:
    ids = {path: set(re.findall(r'id="([^"]*)"', path.read_text())) for path in built.rglob("*.html")}
    dead = []
    for path in ids:
        for target in _HREF.findall(path.read_text()):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            goal = (path.parent / name).resolve() if name else path
            if not goal.is_file() or (anchor and anchor not in ids[goal]):
                dead.append(f"{path.relative_to(built)}: {target}")
    assert dead == []


def test_every_page_is_reached_from_the_first(built: Path) -> None:
    seen: set[Path] = set()
    todo = [built / "index.html"]
    while todo:
        path = todo.pop()
        if path in seen or path.suffix != ".html":
            continue
        seen.add(path)
        targets = (target.partition("#")[0] for target in _HREF.findall(path.read_text()) if "://" not in target)
        todo += [(path.parent / target).resolve() for target in targets if target]
    assert set(built.rglob("*.html")) - seen == set()


def test_the_same_pages_give_the_same_bytes(read: list[Page], built: Path, tmp_path: Path) -> None:
    site.build(pages.read(), tmp_path)
    assert {path.relative_to(built): path.read_bytes() for path in built.rglob("*") if path.is_file()} == {
        path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    }


def test_the_table_of_ports_has_what_the_preflight_looks_for() -> None:
    text = (ROOT / "docs/reference/network-requirements.md").read_text()
    listed = set(re.findall(r"^\| (\d+) \| (TCP|UDP) \|", text, re.MULTILINE))
    base = {**defaults(), "cluster_name": "x", "bootstrap_url": "http://h", "master_list": ["192.0.2.11"]}
    wanted = {
        (str(port.number), port.protocol.upper())
        for is_vxlan in (True, False)
        for port in ports({**base, "calico_vxlan_enabled": is_vxlan})
    }
    assert listed == wanted


def test_each_section_of_dcos_readme_has_its_page() -> None:
    text = (ROOT / "docs/reference/dcos-readme.md").read_text()
    sections = re.findall(r"^\| (\d(?:\.\d)?)", text, re.MULTILINE)
    assert sections == ["1", "2", "3", "4", "5.1", "5.2", "5.3", "5.4", "6.1", "6.2", "7", "8"]


def test_the_way_to_the_bookstore_is_one_page() -> None:
    text = (ROOT / "docs/tutorial/bookstore.md").read_text()
    assert len(text.splitlines()) < 110
    assert "make lab" in text and "lab story bookstore" in text
