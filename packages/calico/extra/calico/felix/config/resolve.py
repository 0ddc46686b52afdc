"""One configuration out of several sources, and what a change of it asks of a running felix."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from calico.felix.config.parameters import BY_NAME, Effect, Parameter
from calico.felix.config.settings import Settings
from calico.felix.config.sources import Given, Source
from calico.model.problems import nearest, shown


class Problem(NamedTuple):
    """Something in a source that is not taken as it stands. `fatal`: felix must not start with it."""

    origin: str
    text: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.origin}: {self.text}" if self.origin else self.text


class Resolved(NamedTuple):
    """The configuration in force, the text and origin of each parameter that is given, and what is wrong."""

    settings: Settings
    given: Mapping[str, Given]
    problems: tuple[Problem, ...] = ()

    @property
    def is_fatal(self) -> bool:
        """Whether felix must not start with it."""
        return any(problem.fatal for problem in self.problems)


class _Refused(NamedTuple):
    """A value that is not taken: another source may give one, unless `settles`, which leaves the default."""

    problem: Problem
    settles: bool


def resolve(sources: Sequence[Source], hostname: str = "") -> Resolved:
    """The configuration of `sources`, the strongest first; `hostname` is the host's own where none is given.

    A value that cannot be read leaves the default in force, as upstream has it. Where the parameter is one upstream
    would not start without, it is fatal in a local source; in the datastore it is refused, and weaker sources are
    asked: what one writer got wrong must not stop every felix of the cluster.
    """
    values: dict[str, Any] = {"hostname": hostname.lower()} if hostname else {}
    given: dict[str, Given] = {}
    problems: list[Problem] = []
    settled: set[str] = set()
    for source in sources:
        problems += (Problem("", text) for text in source.problems)
        for parameter, item in _known(source, problems):
            if parameter.name in settled:
                continue
            value = _value(parameter, item, source.local)
            if isinstance(value, _Refused):
                problems.append(value.problem)
                if not value.settles:
                    continue
            elif parameter.field:
                values[parameter.field] = value
            settled.add(parameter.name)
            given[parameter.name] = item
    return Resolved(Settings(**values), given, tuple(dict.fromkeys(problems)))


def _known(source: Source, problems: list[Problem]) -> Iterator[tuple[Parameter, Given]]:
    """The parameters a source gives that may come from it; of one given twice, the last."""
    by_name = {item.name.lower(): item for item in source.given}
    for name, item in by_name.items():
        parameter = BY_NAME.get(name)
        if parameter is None:
            hint = nearest(name, [one.name for one in BY_NAME.values()])
            problems.append(Problem(item.origin, f"{item.name} is no parameter" + (f" ({hint})" if hint else "")))
        elif parameter.local and not source.local:
            problems.append(Problem(item.origin, f"{parameter.name} can only be set on the node itself; it is ignored"))
        elif not item.value:
            problems.append(Problem(item.origin, f"{parameter.name} is empty and is ignored"))
        else:
            yield parameter, item


def _value(parameter: Parameter, item: Given, is_local: bool) -> Any:
    """The value in force, or what is wrong with the text."""
    if not parameter.field:
        return None
    if item.value.lower() == "none":
        if not parameter.non_zero:
            return parameter.zero
        message = "may not be none"
        return _refused(parameter, item, message, is_local, True)
    try:
        return parameter.parse(item.value)
    except ValueError as error:
        return _refused(parameter, item, str(error), is_local, parameter.required)


def _refused(parameter: Parameter, item: Given, message: str, is_local: bool, required: bool) -> _Refused:
    text = f"{parameter.name} = {shown(item.value)}: {message}"
    if not required:
        return _Refused(Problem(item.origin, f"{text}; the default is used: {parameter.default}"), True)
    if is_local:
        return _Refused(Problem(item.origin, text, fatal=True), True)
    return _Refused(Problem(item.origin, f"{text}; it is refused"), False)


def effect(before: Settings, after: Settings) -> Effect:
    """The most that the differences between two configurations ask."""
    found = {parameter.effect for parameter in differing(before, after)}
    return next((one for one in (Effect.RESTART, Effect.IN_PLACE) if one in found), Effect.NOTHING)


def differing(before: Settings, after: Settings) -> Iterable[Parameter]:
    """The parameters whose effective values differ."""
    used = (parameter for parameter in BY_NAME.values() if parameter.field)
    return [one for one in used if getattr(before, one.field) != getattr(after, one.field)]
