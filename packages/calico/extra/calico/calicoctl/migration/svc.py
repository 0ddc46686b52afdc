"""Packages of services built on dcos-commons: `svc.yml`, `marathon.json.mustache` and `config.json`.

Two of them are mustache templates, neither YAML nor JSON before they are filled in, and stay what they are to the last
character: names are looked for in their text, with the structure around them, and tags are stepped over.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from calico.calicoctl.migration import jsontext
from calico.calicoctl.migration.jsontext import Node
from calico.calicoctl.migration.values import Change, Edit, Finding, Wish, edited

NETWORK_KEYS = re.compile(r"(?i)(.*[._-])?virtual[._-]?network[._-]?name")

_KEY = re.compile(
    r"(?P<indent> *)(?P<quote>[\"']?)(?P<key>[^\s\"'#:{}\[\],][^\s\"':]*|\{\{[^}]*\}\})(?P=quote)\s*:(?P<rest>.*)"
)
_BLOCK = re.compile(r":\s+[|>][-+0-9]{0,2}\s*(\s#.*)?$")
_TAG_LINE = re.compile(r"\s*\{\{[#/^!][^}]*\}\}\s*")
_FLOW_KEY = re.compile(r"(?P<before>[{,]\s*[\"']?)(?P<key>[^\s\"':{},]+)(?P<after>[\"']?\s*:)")
_TAG_KEY = "{{}}"
"""Stands for a key where a tag is, which may bring any."""
_TAG = re.compile(r"\{\{\{.*?\}\}\}|\{\{.*?\}\}", re.DOTALL)


def migrate(name: str, text: str, wish: Wish) -> Change:
    """The text of a file of that name with its networks changed. Raises jsontext.NotJson of a config.json."""
    return FILES[name](text, wish)


# -------------------------------------------------------------------------------------------------- svc.yml


class _Line(NamedTuple):
    start: int
    text: str

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip(" "))

    @property
    def is_item(self) -> bool:
        return self.text.lstrip(" ").startswith("-")

    @property
    def is_blank(self) -> bool:
        stripped = self.text.strip()
        return not stripped or stripped.startswith("#") or _TAG_LINE.fullmatch(self.text.rstrip("\r\n")) is not None


def _lines(text: str) -> Iterator[_Line]:
    """Every line; those of texts in blocks (`cmd: |`), which are nobody's keys, as blank ones."""
    block: int | None = None  # the indent of the key that a block belongs to
    for match in re.finditer(r"[^\n]*\n|[^\n]+", text):
        line = _Line(match.start(), match.group())
        if block is not None and (line.indent > block or not line.text.strip()):
            yield line._replace(text="")
        else:
            block = line.indent if _BLOCK.search(line.text.rstrip("\r\n")) else None
            yield line


class _Key(NamedTuple):
    """A network's name as it is written, and where."""

    start: int
    end: int
    text: str


def _svc(text: str, wish: Wish) -> Change:
    """Pods' `networks`, a mapping from a network's name to what is said of it, in block or flow style."""
    edits: list[Edit] = []
    findings: list[Finding] = []
    lines = list(_lines(text))
    for number, line in enumerate(lines):
        match = _KEY.match(line.text.rstrip("\r\n"))
        if line.is_blank or match is None or match["key"] != "networks":
            continue
        where = f"line {number + 1}"
        rest = match["rest"].partition(" #")[0].strip()
        keys, told = _flow(line, match.start("rest"), rest, where) if rest else _block(lines, number)
        findings += told
        named = [wish.new if key.text in wish.old else key.text for key in keys]
        changes = [Edit(key.start, key.end, wish.new) for key in keys if key.text in wish.old]
        if changes and named.count(wish.new) > 1:
            findings.append(
                Finding(where, f"would have the network {wish.new} twice: take one of its networks out", True)
            )
        else:
            edits += changes
    return Change(edited(text, edits), tuple(findings))


def _block(lines: list[_Line], number: int) -> tuple[list[_Key], list[Finding]]:
    """The keys one level below `networks:`."""
    keys, findings = [], []
    child: int | None = None
    for offset, line in enumerate(lines[number + 1 :], number + 2):
        if line.is_blank:
            continue
        if line.indent < lines[number].indent or (line.indent == lines[number].indent and not line.is_item):
            break
        child = line.indent if child is None else child
        if line.indent != child:
            continue
        match = _KEY.match(line.text.rstrip("\r\n"))
        if match is None:
            findings.append(Finding(f"line {offset}", "is below networks and no key of it: look at it", True))
        elif match["key"].startswith("{{"):
            findings += _variables_of(f"line {offset}", match["key"])
        else:
            keys.append(_Key(line.start + match.start("key"), line.start + match.end("key"), match["key"]))
    return keys, findings


def _flow(line: _Line, start: int, rest: str, where: str) -> tuple[list[_Key], list[Finding]]:
    """The keys of `{...}`, those of mappings in it left out."""
    variables = list(_variables_of(where, rest))
    if _TAG.fullmatch(rest):
        return [], variables
    plain = _TAG.sub(lambda match: "x" * len(match.group()), line.text)
    value = plain[start:].partition(" #")[0].strip()
    if not (value.startswith("{") and value.endswith("}") and value.count("{") == value.count("}")):
        return [], [Finding(where, "is not one line of {...}: look at it", True)]
    keys = []
    for match in _FLOW_KEY.finditer(plain, start):
        before = plain[start : match.start() + 1]
        if before.count("{") - before.count("}") == 1:
            keys.append(_Key(line.start + match.start("key"), line.start + match.end("key"), match["key"]))
    return keys, variables


def _variables_of(where: str, text: str) -> Iterator[Finding]:
    for tag in _TAG.findall(text):
        name = tag.strip("{}").strip()
        if name[:1] not in "#/^!":
            yield Finding(where, f"the network's name is the variable {name}: its default in config.json decides")


# ----------------------------------------------------------------------------------- marathon.json.mustache


class _Token(NamedTuple):
    """A string value of a template, or a tag: the keys above it, and where the bracket opens that it is in."""

    path: tuple[str, ...]
    start: int
    end: int
    text: str
    bracket: int


def _marathon(text: str, wish: Wish) -> Change:
    """Names that are written out. One that is a variable is what config.json says."""
    edits: list[Edit] = []
    findings: list[Finding] = []
    try:
        tokens = list(_tokens(text))
    except jsontext.NotJson as error:
        return Change(text, (Finding("template", f"{error}: look at it yourself", True),))
    for token in tokens:
        if not _names_network(token.path):
            continue
        if token.text in wish.old:
            edits.append(Edit(token.start, token.end, f'"{wish.new}"'))
        findings += _variables_of(".".join(token.path), token.text)
    if "dcos" in wish.old:
        findings += _unnamed(tokens)
    return Change(edited(text, edits), tuple(findings))


def _unnamed(tokens: list[_Token]) -> Iterator[Finding]:
    """Networks without a name, which Marathon takes for `dcos`."""
    networks: dict[int, dict[str, str]] = {}
    for token in tokens:
        if token.path[-3:-1] == ("networks", "[]"):
            networks.setdefault(token.bracket, {})[token.path[-1]] = token.text
    for members in networks.values():
        if members.get("mode", "").lower() == "container" and not members.keys() & {"name", _TAG_KEY}:
            yield Finding("networks", "a network of mode container has no name, so it is dcos: give it one", True)


def _names_network(path: tuple[str, ...]) -> bool:
    if path[-3:] == ("networks", "[]", "name"):
        return True
    return path[-1:] == ("networkName",) or NETWORK_KEYS.fullmatch(path[-1] if path else "") is not None


def _tokens(text: str) -> Iterator[_Token]:
    """The string values of a JSON text, and the mustache tags in it, which count as nothing, also around commas."""
    stack: list[str] = []  # "{" and "[" of what is open
    opened: list[int] = []  # where
    keys: list[str] = []  # for each open bracket the key that is being given a value, "[]" in arrays
    position, is_value = 0, False
    while position < len(text):
        character = text[position]
        tag = _TAG.match(text, position) if text.startswith("{{", position) else None
        if tag is not None:
            if stack:
                yield _Token((*keys[:-1], _TAG_KEY), position, tag.end(), "", opened[-1])
            position = tag.end()
        elif character == '"':
            match = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL).match(text, position)
            if match is None:
                raise jsontext.NotJson("a string does not end")
            if stack[-1:] == ["{"] and not is_value:
                keys[-1] = match.group()[1:-1]
            elif stack:
                yield _Token(tuple(keys), position, match.end(), match.group()[1:-1], opened[-1])
            position = match.end()
        else:
            if character in "{[":
                opened.append(position)
            elif character in "}]" and opened:
                opened.pop()
            is_value = _step(character, stack, keys, is_value)
            position += 1
    if stack:
        raise jsontext.NotJson("its brackets do not close, with the tags left out")


def _step(character: str, stack: list[str], keys: list[str], is_value: bool) -> bool:
    """One character outside strings and tags; whether the next string is a value."""
    if character in "{[":
        stack.append(character)
        keys.append("" if character == "{" else "[]")
        return character == "["
    if character in "}]":
        if stack[-1:] != ["{" if character == "}" else "["]:
            raise jsontext.NotJson("its brackets do not match, with the tags left out")
        stack.pop()
        keys.pop()
        return stack[-1:] == ["["]
    if character == ":":
        return True
    return is_value if character != "," else stack[-1:] == ["["]


# ------------------------------------------------------------------------------------------------ config.json


def _config(text: str, wish: Wish) -> Change:
    """Defaults of the properties that name a network."""
    edits: list[Edit] = []
    findings: list[Finding] = []
    for path, node in _properties(jsontext.parse(text), ""):
        default = node.members.get("default")
        if default is not None and default.text in wish.old:
            edits.append(jsontext.replace(default, wish.new))
        elif default is None:
            findings.append(Finding(path, "has no default: operators give the name, and must give the new one"))
        choices = node.members.get("enum")
        if choices is not None and wish.new not in [each.text for each in choices.elements]:
            findings.append(Finding(path, f"allows only {', '.join(each.text for each in choices.elements)}", True))
    return Change(edited(text, edits), tuple(findings))


def _properties(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    """Properties of the schema whose name says that they name a network."""
    for key, each in node.members.items():
        where = f"{path}.{key}" if path else key
        if NETWORK_KEYS.fullmatch(key) and "type" in each.members:
            yield where, each
        yield from _properties(each, where)


FILES: dict[str, Callable[[str, Wish], Change]] = {
    "svc.yml": _svc,
    "marathon.json.mustache": _marathon,
    "config.json": _config,
}
"""What is looked at, by name."""
