"""Problems of a configuration as values: where, what, and what to do about it.

Nothing here prints. `Report` is what `gen.validate.validate` returns; its `text()` and `json()` are the two forms of
the command line, and `gen.annotate` draws the third.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Path = tuple[str | int, ...]
"""Where a value stands: member names and list indexes from the top of the document."""

ERROR = "error"
WARNING = "warning"


class Mark(NamedTuple):
    """A position in the file, counted from 1; a column counts characters, not bytes."""

    line: int
    column: int


TOP = Mark(1, 1)


def path_text(path: Path) -> str:
    """A path as people write it: `dcos_overlay_network.overlays[0].name`."""
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(parts).removeprefix(".")


class Finding(NamedTuple):
    """What a check has to say, before anybody knows where in the file it is.

    It concerns every path of `paths`, and the parameter it is about comes first. `severity` is the worst it can be: a
    finding about a parameter that is switched off becomes a warning.
    """

    paths: tuple[Path, ...]
    code: str
    message: str
    hint: str = ""
    severity: str = ERROR


class Problem(NamedTuple):
    """One thing that is wrong with one key; a problem of several keys is one Problem for each, with equal `group`.

    `path` is the key path as text, and empty where the file as a whole is meant. `value` is the value as the file has
    it, None where there is none to show (a key left out). A key that is not in the file stands where the first key of
    its group does.
    """

    severity: str
    file: str
    mark: Mark
    path: str
    code: str
    message: str
    hint: str = ""
    value: Any = None
    group: int = 0
    is_in_file: bool = True

    @property
    def key(self) -> str:
        """The top-level key."""
        return self.path.partition(".")[0].partition("[")[0]

    def __str__(self) -> str:
        """`file:line:col: error: key.path: message (hint)`, on one line whatever the values hold."""
        subject = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return one_line(
            f"{self.file}:{self.mark.line}:{self.mark.column}: {self.severity}: {subject}{self.message}{hint}"
        )

    def json(self) -> dict[str, Any]:
        """The problem as a member of `problems` in the JSON form."""
        return {
            "severity": self.severity,
            "file": self.file,
            "line": self.mark.line,
            "column": self.mark.column,
            "key": self.key,
            "path": self.path,
            "code": self.code,
            "value": self.value,
            "message": self.message,
            "hint": self.hint,
        }


def one_line(text: str) -> str:
    """`text` with control characters and lone surrogates escaped, so that a value cannot forge a line."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "replace").decode("ascii") for char in text
    )


class Report(NamedTuple):
    """What validation found: every parameter's value, and every problem, in the order of the file.

    `values` is complete only when `ok`; `unset` names required parameters without a value.
    """

    values: Mapping[str, Any]
    problems: tuple[Problem, ...]
    unset: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the configuration can be used; warnings do not stand in the way."""
        return not self.errors

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop."""
        return tuple(problem for problem in self.problems if problem.severity == ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that do not."""
        return tuple(problem for problem in self.problems if problem.severity == WARNING)

    def text(self) -> str:
        """A line for each problem; one of several keys is told once, at its first key in the file."""
        groups: dict[int, list[Problem]] = {}
        for problem in self.problems:
            groups.setdefault(problem.group, []).append(problem)
        return "\n".join(_group_line(group) for group in groups.values())

    def json(self) -> dict[str, Any]:
        """Upstream's shape, `warnings` and `problems` beside it; a problem of the whole file has its name as key."""
        return {
            "status": "ok" if self.ok else "errors",
            "errors": _by_key(self.errors),
            "unset": list(self.unset),
            "warnings": _by_key(self.warnings),
            "problems": [problem.json() for problem in self.problems],
        }


def _group_line(group: list[Problem]) -> str:
    present = [problem for problem in group if problem.is_in_file] or group[:1]
    first = present[0]
    others = [f"{other.path}, line {other.mark.line}" for other in present[1:]]
    if not others:
        return str(first)
    also = "see also " + "; ".join(others)
    return str(first._replace(hint=f"{first.hint}; {also}" if first.hint else also))


def _by_key(problems: Iterable[Problem]) -> dict[str, dict[str, str]]:
    """Every message of a key, joined: upstream's readers expect one text a key."""
    messages: dict[str, list[str]] = {}
    for problem in problems:
        within = "" if problem.path == problem.key else f"{problem.path}: "
        messages.setdefault(problem.key or problem.file, []).append(one_line(within + problem.message))
    return {key: {"message": "; ".join(dict.fromkeys(texts))} for key, texts in messages.items()}
