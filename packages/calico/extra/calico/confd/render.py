"""A configuration as BIRD 2 reads it: values into templates/bird.cfg.jinja, and nothing decided here."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from calico.confd.plan import Configuration

_HIDDEN = "***"


def render(configuration: Configuration) -> str:
    """The text of bird.cfg. The same configuration gives the same text."""
    return _template().render(configuration._asdict())


def render_without_secrets(configuration: Configuration) -> str:
    """The same for a person's eyes: no password in it."""
    families = tuple(
        family._replace(
            sessions=tuple(one._replace(password=_HIDDEN if one.password else "") for one in family.sessions)
        )
        for family in configuration.families
    )
    return render(configuration._replace(families=families))


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["within"] = lambda cidr: f"{cidr}+"
    return environment.get_template("bird.cfg.jinja")
