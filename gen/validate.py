"""A configuration's text to a report: every problem at once, and every parameter's value.

The order is: read the file (`gen.document`), sort out its keys, read and check each value (`gen.schema`), fill in
defaults, check values against one another (`gen.checks`), and put a position on whatever was found.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from gen.document import MAX_BYTES, Document, Mangled, read
from gen.problems import ERROR, TOP, WARNING, Finding, Mark, Path, Problem, Report, path_text

_HIDDEN = "**HIDDEN**"
_KNOWN_KEYS = FilePath(__file__).with_name("known_keys.txt")


def validate(text: str | bytes, filename: str, allow_keys: Iterable[str] = ()) -> Report:
    """Validate a configuration.

    `filename` is for positions, and `ip_detect_filename` is relative to its folder; `allow_keys` are keys to pass over
    though nobody knows them. Nothing is raised for whatever the text holds.
    """
    document = read(text)
    found = [each for each in document.findings if not _is_passed_over(each[0])]
    if not document.is_readable:
        return Report({}, tuple(_placed(found, document, filename)), ())
    from gen.parameters import TABLE, defaults

    found += [(finding, document.keys[finding.paths[0]]) for finding in _strange_keys(document, frozenset(allow_keys))]
    used = {name: value for name, value in document.data.items() if name in TABLE}
    values, findings, unset = _check(used, defaults(), os.path.dirname(filename))
    problems = [*_placed(found, document, filename), *_placed_findings(findings, document, filename)]
    return Report(values, tuple(_in_order(problems)), unset)


def unreadable(filename: str, reason: str) -> Report:
    """The report on a file that cannot be opened."""
    problem = Problem(ERROR, filename, TOP, "", "unreadable", f"cannot be read: {reason}", "check the name")
    return Report({}, (problem,), ())


def known_keys() -> frozenset[str]:
    """The keys of DC/OS that this bundle passes over."""
    lines = _KNOWN_KEYS.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _is_passed_over(finding: Finding) -> bool:
    """Whether it is about the inside of a key that is not ours: odd keys are fine there, two equal ones are not."""
    from gen.parameters import TABLE

    path = finding.paths[0]
    return finding.code == "yaml-key" and bool(path) and path[0] not in TABLE


def _strange_keys(document: Document, allowed: frozenset[str]) -> Iterator[Finding]:
    """A finding for each top-level key that is no parameter and not known to DC/OS."""
    from gen.parameters import TABLE

    strange = [key for key in document.data if key not in TABLE]
    known = known_keys() if strange else frozenset()
    for key in strange:
        if key in known:
            continue
        if key in allowed:
            yield Finding(((key,),), "allowed-key", "passed over, as --allow-key says", "", WARNING)
        elif key.startswith("x_"):
            yield Finding(((key,),), "extension-key", "passed over, as keys with x_ are", "", WARNING)
        else:
            yield _unknown_key(key, known | TABLE.keys())


def _unknown_key(key: str, known: Iterable[str]) -> Finding:
    from difflib import get_close_matches

    near = get_close_matches(key.lower().replace("-", "_").strip(), sorted(known), 1)
    advice = f"did you mean {near[0]}?" if near else "see gen explain; --allow-key or an x_ prefix passes one over"
    return Finding(((key,),), "unknown-key", "nobody knows this key", advice)


class _Checked(NamedTuple):
    values: dict[str, Any]
    findings: list[Finding]
    unset: tuple[str, ...]


def _check(used: Mapping[str, Any], values: dict[str, Any], folder: str) -> _Checked:
    """The values, what is wrong with them, and what is required and left out; `values` comes in with the defaults."""
    from gen.checks import CHECKS
    from gen.checks.facts import Facts
    from gen.parameters import TABLE
    from gen.schema import check

    draft, findings = check(used)
    refused = {str(finding.paths[0][0]) for finding in findings}
    findings += _read_ip_detect(draft, refused, folder)
    refused |= {str(finding.paths[0][0]) for finding in findings}
    settings = {**values, **draft}
    if draft.get("enable_ipv6") is False and "dcos_l4lb_enable_ipv6" not in used:
        settings["dcos_l4lb_enable_ipv6"] = False
    facts = Facts(settings, frozenset(used), frozenset(refused))
    for cross_check in CHECKS:
        findings += cross_check(facts)
    missing = [name for name, parameter in TABLE.items() if parameter.required and name not in used]
    findings += [Finding(((name,),), "missing", "must be set", TABLE[name].help) for name in missing]
    values.update((name, value) for name, value in settings.items() if name not in refused)
    unset = dict.fromkeys(missing)
    unset.update(
        (str(each.paths[0][0]), None) for each in findings if each.code == "missing" and len(each.paths[0]) == 1
    )
    return _Checked(values, [_weighed(finding, values) for finding in findings], tuple(unset))


def _weighed(finding: Finding, values: Mapping[str, Any]) -> Finding:
    """The finding, a warning where a parameter it concerns is switched off."""
    from gen.parameters import applies

    if finding.severity == ERROR and not applies(finding.paths, values):
        return finding._replace(severity=WARNING)
    return finding


def _read_ip_detect(draft: dict[str, Any], refused: set[str], folder: str) -> Iterator[Finding]:
    """Put the script that `ip_detect_filename` names into `ip_detect_contents`."""
    from gen import kinds

    key = "ip_detect_filename"
    if key not in draft or key in refused:
        return
    where = os.path.join(folder, draft[key])
    try:
        with open(where, "rb") as file:
            text = file.read(MAX_BYTES + 1).decode("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        yield Finding(((key,),), "unreadable", f"{where} cannot be read: {reason}", "name a script, or remove the key")
        return
    if len(text) > MAX_BYTES or "\0" in text:
        yield Finding(((key,),), "script", f"{where} is no script", "name a script, or remove the key")
    elif fault := kinds.script_fault(text):
        yield Finding(((key,),), fault.code, fault.message, fault.hint)
    elif "ip_detect_contents" not in draft:
        draft["ip_detect_contents"] = kinds.read_script(text)


def _placed_findings(findings: Iterable[Finding], document: Document, filename: str) -> Iterator[Problem]:
    """The problems of findings about values, each path at its own place in the file."""
    for group, finding in enumerate(findings, len(document.findings) + len(document.data)):
        where = document.keys if finding.code == "unknown-key" else document.values
        marks = {path: _position(where, path) for path in finding.paths}
        first = next((mark for mark in marks.values() if mark), TOP)
        for path, mark in marks.items():
            problem = _problem(finding, path, mark or first, filename, document)
            yield problem._replace(group=group, is_in_file=mark is not None)


def _placed(found: Iterable[tuple[Finding, Mark]], document: Document, filename: str) -> Iterator[Problem]:
    """The problems of the file itself, where the reader saw them."""
    for group, (finding, mark) in enumerate(found):
        yield _problem(finding, finding.paths[0], mark, filename, document)._replace(group=group)


def _problem(finding: Finding, path: Path, mark: Mark, filename: str, document: Document) -> Problem:
    value = _value(document.data, path)
    return Problem(
        finding.severity, filename, mark, path_text(path), finding.code, finding.message, finding.hint, value
    )


def _position(where: Mapping[Path, Mark], path: Path) -> Mark | None:
    """Where the value at `path` stands, or what encloses it: a member may lie in a JSON string or be missing."""
    while path:
        if mark := where.get(path):
            return mark
        path = path[:-1]
    return None


def _value(data: Any, path: Path) -> Any:
    """The value as the file has it, secrets hidden; None where there is none."""
    from gen.parameters import TABLE

    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    if path and path[0] in TABLE and TABLE[str(path[0])].secret:
        return _HIDDEN
    return _plain(data) if path else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mangled):
        return value.text
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    return [_plain(member) for member in value] if isinstance(value, list) else value


def _in_order(problems: list[Problem]) -> Iterator[Problem]:
    """The problems in the order of the file, those of one group together with the parameter it is about first."""
    first: dict[int, Mark] = {}
    for problem in problems:
        first.setdefault(problem.group, problem.mark)
    numbers: dict[int, int] = {}
    for problem in sorted(problems, key=lambda problem: (first[problem.group], problem.group)):
        yield problem._replace(group=numbers.setdefault(problem.group, len(numbers)))
