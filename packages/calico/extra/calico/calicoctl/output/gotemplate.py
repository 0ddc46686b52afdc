"""The part of Go's text/template that `calicoctl get -o go-template=...` supports.

Supported: text with `{{` `}}` and trim markers (`{{-`, `-}}`), comments, field chains (`.Spec.CIDR`, `$x.Name`),
variables (`{{$x := pipeline}}`, `=`), pipelines, parentheses, literals (strings, raw strings, numbers, true, false,
nil), `if`, `else if`, `else`, `range` (one or two variables, `else`), `with`, `end`, `break`, `continue`, and the
functions of `_FUNCTIONS`. Not supported, and refused by name: `define`, `template`, `block`, methods.

Fields are Go's (`.ObjectMeta.Name`, `.Spec.NATOutgoing`): a name is matched to a JSON member without regard to case,
and the embedded `ObjectMeta` and `TypeMeta` are found both by name and through the resource itself.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_ACTION = re.compile(r"\{\{(- )?\s*(.*?)\s*( -)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<variable>\$\w*)"""
    r"""|(?P<field>(?:\.\w+)+|\.)|(?P<word>\w+)|(?P<sign>:=|[=|(),]))"""
)
_REFUSED = ("define", "template", "block")


class TemplateError(Exception):
    """A template that cannot be read or applied; the text says where and why."""


class _Token(NamedTuple):
    kind: str
    text: str


class _Text(NamedTuple):
    text: str


class _Action(NamedTuple):
    keyword: str
    tokens: tuple[_Token, ...]
    line: int


class _Branch(NamedTuple):
    """`if`, `with` or `range`: its pipeline, what runs when it holds, what runs otherwise."""

    keyword: str
    tokens: tuple[_Token, ...]
    line: int
    body: "tuple[_Node, ...]"
    otherwise: "tuple[_Node, ...]"


_Node = _Text | _Action | _Branch


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


def execute(template: str, data: Any) -> str:
    """The text of `template` applied to `data`; raises TemplateError."""
    nodes = _Parser(template).parse()
    output: list[str] = []
    try:
        _Run(data, output).nodes(nodes, data, {"$": data})
    except RecursionError:
        raise TemplateError("template: nested too deeply") from None
    return "".join(output)


class _Parser:
    """Splits a template into text and actions, then nests the actions that have an `end`."""

    def __init__(self, template: str) -> None:
        self._pieces = list(_pieces(template))
        self._at = 0

    def parse(self) -> tuple[_Node, ...]:
        nodes, ended_by = self._until()
        if ended_by is not None:
            raise TemplateError(f"template: line {ended_by.line}: {ended_by.keyword} stands outside if, range or with")
        return nodes

    def _until(self) -> tuple[tuple[_Node, ...], _Action | None]:
        """Nodes up to the `end` or `else` that closes the block we are in, and that action."""
        nodes: list[_Node] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if isinstance(piece, _Text):
                nodes.append(piece)
            elif piece.keyword in ("end", "else"):
                return tuple(nodes), piece
            elif piece.keyword in ("if", "range", "with"):
                nodes.append(self._branch(piece))
            else:
                nodes.append(piece)
        return tuple(nodes), None

    def _branch(self, start: _Action) -> _Branch:
        body, closing = self._until()
        otherwise: tuple[_Node, ...] = ()
        if closing is not None and closing.keyword == "else":
            if closing.tokens:
                keyword, *rest = closing.tokens
                return _opened(start, body, (self._branch(_Action(keyword.text, tuple(rest), closing.line)),))
            otherwise, closing = self._until()
        if closing is None or closing.keyword != "end":
            raise TemplateError(f"template: line {start.line}: {start.keyword} has no end")
        return _opened(start, body, otherwise)


def _opened(start: _Action, body: tuple[_Node, ...], otherwise: tuple[_Node, ...]) -> _Branch:
    """The branch that `start` opens."""
    return _Branch(start.keyword, start.tokens, start.line, body, otherwise)


def _pieces(template: str) -> Iterator[_Text | _Action]:
    at, trim_next = 0, False
    for match in _ACTION.finditer(template):
        text = template[at : match.start()]
        text = text.lstrip() if trim_next else text
        yield _Text(text.rstrip() if match[1] else text)
        at, trim_next = match.end(), bool(match[3])
        if not match[2].startswith("/*"):
            yield _action(match[2], template.count("\n", 0, match.start()) + 1)
    rest = template[at:].lstrip() if trim_next else template[at:]
    if "{{" in rest:
        raise TemplateError(f"template: line {template.count(chr(10), 0, at) + 1}: unclosed action")
    yield _Text(rest)


def _action(text: str, line: int) -> _Action:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise TemplateError(f"template: line {line}: unexpected {text[at:].strip()[:1]!r} in {{{{{text}}}}}")
        tokens.append(_Token(str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    if not tokens:
        raise TemplateError(f"template: line {line}: missing value for command")
    word = tokens[0].text if tokens[0].kind == "word" else ""
    if word in _REFUSED:
        raise TemplateError(f"template: line {line}: {word} is not supported by this calicoctl")
    if word in ("if", "else", "end", "range", "with", "break", "continue"):
        return _Action(word, tuple(tokens[1:]), line)
    return _Action("", tuple(tokens), line)


class _Run:
    """Applies nodes to data, appending to `output`."""

    def __init__(self, root: Any, output: list[str]) -> None:
        self._root = root
        self._output = output

    def nodes(self, nodes: Sequence[_Node], dot: Any, variables: dict[str, Any]) -> None:
        for node in nodes:
            if isinstance(node, _Text):
                self._output.append(node.text)
            elif isinstance(node, _Branch):
                self._branch(node, dot, dict(variables))
            elif node.keyword == "break":
                raise _Break
            elif node.keyword == "continue":
                raise _Continue
            else:
                value, assigned = _pipeline(node, dot, variables)
                if not assigned:
                    self._output.append(_show(value))

    def _branch(self, node: _Branch, dot: Any, variables: dict[str, Any]) -> None:
        names, tokens = _declared(node.tokens)
        value, _ = _pipeline(_Action("", tokens, node.line), dot, variables)
        if node.keyword == "range":
            self._range(node, names, value, dot, variables)
            return
        if names:
            variables[names[0]] = value
        if _true(value):
            self.nodes(node.body, value if node.keyword == "with" else dot, variables)
        else:
            self.nodes(node.otherwise, dot, variables)

    def _range(self, node: _Branch, names: list[str], value: Any, dot: Any, variables: dict[str, Any]) -> None:
        items = list(sorted(value.items()) if isinstance(value, Mapping) else enumerate(value or ()))
        if not items:
            self.nodes(node.otherwise, dot, variables)
        for key, item in items:
            inner = dict(variables)
            inner.update(zip(names, (item,) if len(names) == 1 else (key, item), strict=False))
            try:
                self.nodes(node.body, item, inner)
            except _Continue:
                continue
            except _Break:
                break


def _declared(tokens: tuple[_Token, ...]) -> tuple[list[str], tuple[_Token, ...]]:
    """The variables before `:=` and the tokens behind it; none and all of them where there is no `:=`."""
    for index, token in enumerate(tokens[:4]):
        if token == _Token("sign", ":="):
            return [name.text for name in tokens[:index] if name.kind == "variable"], tokens[index + 1 :]
    return [], tokens


def _pipeline(action: _Action, dot: Any, variables: dict[str, Any]) -> tuple[Any, bool]:
    """The value of a pipeline, and whether it was assigned to a variable (and so prints nothing)."""
    tokens = action.tokens
    assigns = len(tokens) > 2 and tokens[0].kind == "variable" and tokens[1].text in (":=", "=")
    stream = _Stream(tokens[2:] if assigns else tokens, dot, variables, action.line)
    value = stream.pipeline()
    stream.finish()
    if assigns:
        variables[tokens[0].text] = value
    return value, assigns


class _Stream:
    """A recursive-descent reader and evaluator of one pipeline."""

    def __init__(self, tokens: tuple[_Token, ...], dot: Any, variables: Mapping[str, Any], line: int) -> None:
        self._tokens, self._dot, self._variables, self._line = tokens, dot, variables, line
        self._at = 0

    def pipeline(self) -> Any:
        value = self._command(())
        while self._take("|"):
            value = self._command((value,))
        return value

    def finish(self) -> None:
        if self._at < len(self._tokens):
            raise self._error(f"unexpected {self._tokens[self._at].text!r}")

    def _error(self, message: str) -> TemplateError:
        return TemplateError(f"template: line {self._line}: {message}")

    def _take(self, sign: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == _Token("sign", sign):
            self._at += 1
            return True
        return False

    def _command(self, last: tuple[Any, ...]) -> Any:
        if self._at >= len(self._tokens):
            raise self._error("missing value for command")
        token = self._tokens[self._at]
        if token.kind == "word" and token.text not in ("true", "false", "nil"):
            self._at += 1
            return self._call(token.text, [*self._operands(), *last])
        value = self._operand()
        if last or list(self._operands()):
            raise self._error(f"can't give argument to non-function {token.text}")
        return value

    def _operands(self) -> Iterator[Any]:
        while self._at < len(self._tokens) and self._tokens[self._at].text not in ("|", ")"):
            yield self._operand()

    def _operand(self) -> Any:
        token = self._tokens[self._at]
        self._at += 1
        if token.kind == "string":
            return _unquoted(token.text)
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.kind == "field":
            return self._chain(self._dot, token.text)
        if token.kind == "variable":
            if token.text not in self._variables:
                raise self._error(f"undefined variable {token.text!r}")
            return self._behind(self._variables[token.text])
        if token.text == "(":
            value = self.pipeline()
            if not self._take(")"):
                raise self._error("unclosed left paren")
            return self._behind(value)
        if token.text in ("true", "false", "nil"):
            return {"true": True, "false": False}.get(token.text)
        return self._call(token.text, []) if token.kind == "word" else self._unexpected(token)

    def _unexpected(self, token: _Token) -> Any:
        raise self._error(f"unexpected {token.text!r}")

    def _behind(self, value: Any) -> Any:
        """`value` after the field chain that follows it directly, if one does."""
        if (
            self._at < len(self._tokens)
            and self._tokens[self._at].kind == "field"
            and self._tokens[self._at].text != "."
        ):
            self._at += 1
            return self._chain(value, self._tokens[self._at - 1].text)
        return value

    def _chain(self, value: Any, chain: str) -> Any:
        for name in chain.split("."):
            if name:
                value = self._field(value, name)
        return value

    def _field(self, value: Any, name: str) -> Any:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self._error(f"can't evaluate field {name} in {_show(value)!r}")
        found = _member(value, name)
        if found is _ABSENT and isinstance(value.get("metadata"), Mapping):
            found = value if name == "TypeMeta" else _member(value["metadata"], name)
        return None if found is _ABSENT else found

    def _call(self, name: str, arguments: list[Any]) -> Any:
        function = _FUNCTIONS.get(name)
        if function is None:
            raise self._error(f'function "{name}" not defined; there are: {", ".join(sorted(_FUNCTIONS))}')
        try:
            return function(*arguments)
        except TemplateError:
            raise
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise self._error(f"error calling {name}: {error}") from None


_ABSENT = object()
_EMBEDDED = {"objectmeta": "metadata", "listmeta": "metadata"}


def _member(value: Mapping[str, Any], name: str) -> Any:
    if name in value:
        return value[name]
    lowered = _EMBEDDED.get(name.lower(), name.lower())
    return next((item for key, item in value.items() if key.lower() == lowered), _ABSENT)


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    escapes = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
    return re.sub(r"\\(.)", lambda match: escapes.get(match[1], match[0]), text[1:-1])


def _true(value: Any) -> bool:
    return bool(value)


def _show(value: Any) -> str:
    """How Go prints `value` in a template."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_show(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(_show, value)) + "]"
    return str(value)


def _join(items: Any, separator: str = ",") -> str:
    if isinstance(items, Mapping):
        return separator.join(f"{key}={_show(item)}" for key, item in sorted(items.items()))
    return separator.join(map(_show, items or ()))


def _join_and_truncate(items: Any, separator: str, longest: int) -> str:
    text = _join(items, separator)
    return text if len(text) <= longest else text[: max(0, longest - 3)] + "..."


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else value[key]
    return value


def _and(*values: Any) -> Any:
    return next((value for value in values if not _true(value)), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if _true(value)), values[-1])


def _printf(form: str, *values: Any) -> str:
    verbs = re.sub(r"%([-+ 0#]*\d*(?:\.\d+)?)[vsdq]", r"%\1s", form)
    return verbs % tuple(_show(value) for value in values)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _and,
    "eq": lambda first, *rest: any(first == other for other in rest),
    "ge": lambda first, second: first >= second,
    "gt": lambda first, second: first > second,
    "index": _index,
    "join": _join,
    "joinAndTruncate": _join_and_truncate,
    "le": lambda first, second: first <= second,
    "len": len,
    "lt": lambda first, second: first < second,
    "ne": lambda first, second: first != second,
    "not": lambda value: not _true(value),
    "or": _or,
    "print": lambda *values: "".join(map(_show, values)),
    "printf": _printf,
    "println": lambda *values: " ".join(map(_show, values)) + "\n",
}
