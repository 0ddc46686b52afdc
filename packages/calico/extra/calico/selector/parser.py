"""Reading selectors: tokens and a recursive descent over them, with the column of what is wrong.

The grammar is v3.14's (docs/explanation/selectors.md): no escapes in strings, only blanks and tabs between tokens, and
after a label only operators are looked for, so that a label may be called `in` or `contains`.
"""

import re
from typing import NamedTuple

from calico.selector.nodes import All, And, Equal, Has, In, Node, Not, NotEqual, NotIn, Or, Part

_SPACE = r"[\t\n\f\r ]"
_LABEL = r"[a-zA-Z0-9_./-]{1,512}"
_DEEPEST = 100
"""Parentheses within parentheses; a selector nested deeper is refused before it exhausts the stack."""


class SelectorError(ValueError):
    """A selector that cannot be read: what is wrong, and in which column (from 1)."""

    def __init__(self, text: str, column: int, message: str) -> None:
        self.text = text
        self.column = column
        self.message = message
        super().__init__(f"{message} at column {column}")

    @property
    def caret(self) -> str:
        """The selector with a caret under the column, on two lines; control characters are shown as blanks."""
        line = "".join(char if char.isprintable() else " " for char in self.text)
        return f"{line}\n{' ' * (self.column - 1)}^"


class Token(NamedTuple):
    """One token; `kind` is its spelling, or STRING, LABEL, HAS, ALL, OPERATOR or END."""

    kind: str
    text: str
    at: int


_PUNCTUATION = re.compile(r"==|!=|&&|\|\||[(){},!]")
_HAS = re.compile(rf"has\({_SPACE}*({_LABEL}){_SPACE}*\)")
_ALL = re.compile(rf"all\({_SPACE}*\)")
_NAME = re.compile(_LABEL)
_OPERATOR = re.compile(rf"contains|starts{_SPACE}*with|ends{_SPACE}*with|not{_SPACE}*in\b|in\b", re.ASCII)
_SPELLED = {"startswith": "starts with", "endswith": "ends with", "notin": "not in"}
_COMPARISONS = frozenset(("==", "!=", "contains", "starts with", "ends with"))


class _Tokens:
    """The tokens of one text, one at a time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.depth = 0
        self._at = 0
        self._after_label = False
        self.next = self._read()

    def error(self, message: str) -> SelectorError:
        """What is wrong with the next token."""
        return SelectorError(self.text, self.next.at + 1, message)

    def take(self) -> Token:
        """The next token, consumed."""
        token = self.next
        self.next = self._read()
        return token

    def _read(self) -> Token:
        text, at = self.text, self._at
        while at < len(text) and text[at] in " \t":
            at += 1
        if at == len(text):
            return Token("END", "", at)
        after_label, self._after_label = self._after_label, False
        if found := _PUNCTUATION.match(text, at):
            self._at = found.end()
            return Token(found[0], found[0], at)
        if text[at] in "'\"":
            return self._string(at)
        if text[at] in "=&|":
            raise SelectorError(text, at + 1, f"a single {text[at]!r} is no operator, write {text[at] * 2!r}")
        return self._operator(at) if after_label else self._operand(at)

    def _string(self, at: int) -> Token:
        end = self.text.find(self.text[at], at + 1)
        if end < 0:
            raise SelectorError(self.text, at + 1, "unterminated string")
        self._at = end + 1
        return Token("STRING", self.text[at + 1 : end], at)

    def _operator(self, at: int) -> Token:
        found = _OPERATOR.match(self.text, at)
        if not found:
            label = self.text[:at].rstrip(" \t").rpartition(" ")[2]
            message = f"unexpected characters after label '{label}', was expecting an operator"
            raise SelectorError(self.text, at + 1, message)
        self._at = found.end()
        squeezed = re.sub(_SPACE, "", found[0])
        return Token("OPERATOR", _SPELLED.get(squeezed, squeezed), at)

    def _operand(self, at: int) -> Token:
        for kind, pattern in (("HAS", _HAS), ("ALL", _ALL), ("LABEL", _NAME)):
            if found := pattern.match(self.text, at):
                self._at = found.end()
                self._after_label = kind == "LABEL"
                return Token(kind, found[1] if kind == "HAS" else found[0], at)
        raise SelectorError(self.text, at + 1, f"unexpected character {self.text[at]!r}")


class Selector:
    """A parsed selector. Two are equal when their canonical texts are."""

    __slots__ = ("_canonical", "matches", "root")

    def __init__(self, root: Node) -> None:
        self.root = root
        self._canonical = root.canonical()
        self.matches = root.test()

    @property
    def canonical(self) -> str:
        """The one text of all selectors that are written like this up to blanks, quotes and order in sets."""
        return self._canonical

    @property
    def uid(self) -> str:
        """The id upstream gives the selector: `s:` and 38 characters of a hash of its canonical text."""
        return unique_id("s", self._canonical)

    def prefixed(self, prefix: str) -> "Selector":
        """The selector with `prefix` before every label name."""
        return Selector(self.root.renamed(lambda label: prefix + label))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and self._canonical == other._canonical

    def __hash__(self) -> int:
        return hash(self._canonical)

    def __repr__(self) -> str:
        return f"Selector({self._canonical!r})"


def unique_id(prefix: str, content: str) -> str:
    """`prefix:` and the unpadded base64url of sha224 over both: the form of every derived id upstream has."""
    import base64
    import hashlib

    digest = hashlib.sha224(f"{prefix}:{content}".encode("utf-8", "surrogatepass")).digest()
    return f"{prefix}:{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def parse(text: str) -> Selector:
    """The selector `text` means; an empty one is `all()`. Raises SelectorError."""
    tokens = _Tokens(text)
    if tokens.next.kind == "END":
        return Selector(All())
    root = _either(tokens)
    if tokens.next.kind != "END":
        raise tokens.error("unexpected content at end of selector")
    return Selector(root)


def _either(tokens: _Tokens) -> Node:
    operands = [_both(tokens)]
    while tokens.next.kind == "||":
        tokens.take()
        operands.append(_both(tokens))
    return operands[0] if len(operands) == 1 else Or(tuple(operands))


def _both(tokens: _Tokens) -> Node:
    operands = [_operation(tokens)]
    while tokens.next.kind == "&&":
        tokens.take()
        operands.append(_operation(tokens))
    return operands[0] if len(operands) == 1 else And(tuple(operands))


def _operation(tokens: _Tokens) -> Node:
    negated = False
    while tokens.next.kind == "!":
        tokens.take()
        negated = not negated
    operand = _operand(tokens)
    if not negated:
        return operand
    return operand.operand if isinstance(operand, Not) else Not(operand)


def _operand(tokens: _Tokens) -> Node:
    match tokens.next.kind:
        case "HAS":
            return Has(tokens.take().text)
        case "ALL":
            tokens.take()
            return All()
        case "LABEL":
            return _test(tokens, tokens.take().text)
        case "(":
            return _group(tokens)
        case _:
            raise tokens.error("expected a label, has(...), all() or an opening parenthesis")


def _group(tokens: _Tokens) -> Node:
    tokens.depth += 1
    if tokens.depth > _DEEPEST:
        raise tokens.error(f"nested deeper than {_DEEPEST} parentheses")
    tokens.take()
    inner = _either(tokens)
    if tokens.next.kind != ")":
        raise tokens.error("expected )")
    tokens.take()
    tokens.depth -= 1
    return inner


def _test(tokens: _Tokens, label: str) -> Node:
    operator = tokens.next.text if tokens.next.kind in ("OPERATOR", "==", "!=") else ""
    if not operator:
        raise tokens.error(
            f"expected an operator after label '{label}': ==, !=, in, not in, contains, starts with or ends with"
        )
    tokens.take()
    if operator not in _COMPARISONS:
        values = _values(tokens)
        return In(label, values) if operator == "in" else NotIn(label, values)
    if tokens.next.kind != "STRING":
        raise tokens.error("expected a string in quotes")
    value = tokens.take().text
    if operator == "==":
        return Equal(label, value)
    return NotEqual(label, value) if operator == "!=" else Part(label, operator, value)


def _values(tokens: _Tokens) -> frozenset[str]:
    if tokens.next.kind != "{":
        raise tokens.error("expected a set in braces")
    tokens.take()
    values = set()
    while tokens.next.kind == "STRING":
        values.add(tokens.take().text)
        if tokens.next.kind != ",":
            break
        tokens.take()
    if tokens.next.kind != "}":
        raise tokens.error("expected }")
    tokens.take()
    return frozenset(values)
