"""The user's own file with the problems marked in it."""

from collections.abc import Iterable, Iterator

from gen.problems import Problem, Report, one_line


def annotate(text: str, report: Report) -> str:
    """Every line of `text` with its number; under a line with problems a caret and the message of each.

    Problems of keys that are not in the file come first.
    """
    by_line: dict[int, list[Problem]] = {}
    apart: list[Problem] = []
    groups_in_file = {problem.group for problem in report.problems if problem.is_in_file}
    for problem in report.problems:
        if problem.is_in_file:
            by_line.setdefault(problem.mark.line, []).append(problem)
        elif problem.group not in groups_in_file:
            apart.append(problem)
    made = [f"# {_sentence(problem)}" for problem in apart]
    lines = text.splitlines() or [""]
    width = len(str(len(lines)))
    for number, line in enumerate(lines, 1):
        made.append(f"{number:>{width}} | {_visible(line)}".rstrip())
        made.extend(_carets(by_line.pop(number, []), " " * width))
    made.extend(f"# {_sentence(problem)}" for problems in by_line.values() for problem in problems)
    return "\n".join(made)


def _carets(problems: Iterable[Problem], margin: str) -> Iterator[str]:
    for problem in problems:
        yield f"{margin} | {' ' * (problem.mark.column - 1)}^ {_sentence(problem)}"


def _sentence(problem: Problem) -> str:
    hint = f" ({problem.hint})" if problem.hint else ""
    subject = f"{problem.path}: " if problem.path else ""
    return one_line(f"{problem.severity}: {subject}{problem.message}{hint}")


def _visible(line: str) -> str:
    """A line as it is, but harmless to a terminal; tabs become one space so that carets stay below their column."""
    return "".join(char if char.isprintable() else " " if char == "\t" else "\ufffd" for char in line)
