"""The table of parameters as text, Markdown, JSON and as a configuration to start from."""

import json
from collections.abc import Iterator
from typing import Any

from gen.parameters import DEFAULT_OVERLAY, SECTIONS, TABLE, Parameter

WIDTH = 100

_RULE = "|---|---|---|---|---|"

_TYPES = {
    "bool": "true or false",
    "int": "whole number",
    "string": "one of a few words",
    "name": "text",
    "url": "URL",
    "path": "file name",
    "script": "script text",
    "address4": "IPv4 address",
    "address6": "IPv6 address",
    "network4": "IPv4 network",
    "endpoints": "host:port",
    "nodes": "list of IPv4 addresses",
    "resolvers": "list of addresses",
    "keys": "list of public keys",
    "overlay": "mapping",
}


def describe(parameter: Parameter) -> dict[str, Any]:
    """A parameter as `gen explain --format json` prints it."""
    return {
        "name": parameter.name,
        "type": _TYPES[parameter.kind],
        "default": None if parameter.required else parameter.default,
        "required": parameter.required,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "choices": list(parameter.choices),
        "when": dict(parameter.when),
        "help": parameter.help,
        "since": parameter.since,
        "secret": parameter.secret,
    }


def values_text(parameter: Parameter) -> str:
    """What a parameter may be, in a few words."""
    if parameter.choices:
        return " or ".join(parameter.choices)
    if parameter.minimum is not None:
        return f"{_TYPES[parameter.kind]}, {parameter.minimum} to {parameter.maximum}"
    return _TYPES[parameter.kind]


def when_text(parameter: Parameter) -> str:
    """When it matters: `calico_enabled: true, ...`, or `always`."""
    return ", ".join(f"{flag}: {_inline(value)}" for flag, value in parameter.when) or "always"


def default_text(parameter: Parameter) -> str:
    """The default on one line."""
    if parameter.required:
        return "none: it must be set"
    if parameter.kind == "script":
        return "the script gen/ip-detect/default.sh"
    if parameter.kind == "overlay":
        return "the networks dcos and dcos6, as in config/calico.yaml"
    return _inline(parameter.default) if parameter.default not in ("", []) else "none"


def text(parameter: Parameter) -> str:
    """Everything about one parameter."""
    lines = [
        f"{parameter.name}: {parameter.help}",
        f"  value    {values_text(parameter)}",
        f"  default  {default_text(parameter)}",
        f"  matters  {when_text(parameter)}",
        f"  since    {parameter.since}",
    ]
    lines += ["  secret   yes: never printed"] if parameter.secret else []
    if parameter.kind == "overlay":
        lines += ["  example"] + [f"    {line}" for line in _yaml_lines(parameter.name, DEFAULT_OVERLAY)]
    return "\n".join(lines)


def listing() -> str:
    """A line for each parameter, by section."""
    width = max(map(len, TABLE))
    blocks = []
    for section, title in SECTIONS.items():
        lines = [f"  {each.name:<{width}}  {each.help}" for each in _of(section)]
        blocks.append("\n".join([title, *lines]))
    return "\n\n".join(blocks)


def markdown() -> str:
    """docs/reference/parameters.md."""
    parts = [
        "# Parameters of config.yaml\n",
        "Made by `gen explain --format markdown` from the table that validation itself uses. A value may be written in",
        "YAML's own types or as upstream's strings: `true` or `'true'`, `1450` or `'1450'`, a list or its JSON text.",
        "Where the last column names flags, the parameter matters only while they have these values; otherwise its",
        "problems are warnings. How problems are told is on [gen](../explanation/gen.md).\n",
    ]
    for section, title in SECTIONS.items():
        parts += [
            f"## {title}\n",
            "| parameter | value | default | what it is | matters while |",
            "|---|---|---|---|---|",
        ]
        parts += [_row(parameter) for parameter in _of(section)]
        parts.append("")
    return "\n".join(parts).rstrip("\n") + "\n"


def _row(parameter: Parameter) -> str:
    default = default_text(parameter)
    shown = f"`{default}`" if default == _inline(parameter.default) else default
    cells = (f"`{parameter.name}`", values_text(parameter), shown, parameter.help, when_text(parameter))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def configuration() -> str:
    """config/calico.yaml: every parameter; those with an example are active, the others show their default."""
    lines = [
        "# The configuration of a dcos-calico bundle: edit it, then run `gen validate` on it or `make bundle`.",
        "# A line that starts with one `#` shows a default: remove it to change the value. Addresses are examples.",
    ]
    for section, title in SECTIONS.items():
        lines += ["", f"## {title}"]
        for parameter in _of(section):
            lines += ["", *_wrapped(parameter.help), *_entry(parameter)]
    return "\n".join(lines) + "\n"


def _wrapped(sentence: str) -> Iterator[str]:
    from textwrap import wrap

    yield from wrap(f"{sentence[0].upper()}{sentence[1:]}.", WIDTH, initial_indent="## ", subsequent_indent="## ")


def _entry(parameter: Parameter) -> list[str]:
    if parameter.example is not None:
        return _yaml_lines(parameter.name, parameter.example)
    if parameter.kind == "script":
        shown = [f"{parameter.name}: |", "  #!/usr/bin/env bash", "  echo 192.0.2.11"]
    elif parameter.kind == "path" and not parameter.default:
        shown = [f"{parameter.name}: ip-detect"]
    else:
        shown = _yaml_lines(parameter.name, parameter.default)
    return [f"# {line}" for line in shown]


def _of(section: str) -> list[Parameter]:
    return [parameter for parameter in TABLE.values() if parameter.section == section]


def _yaml_lines(name: str, value: Any) -> list[str]:
    """`name: value` as YAML: scalars and lists of scalars on one line, mappings in block form."""
    if isinstance(value, dict):
        return [f"{name}:", *(f"  {line}" for key, member in value.items() for line in _yaml_lines(key, member))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [f"{name}:", *(f"  - {{{', '.join(_pairs(member))}}}" for member in value)]
    return [f"{name}: {_inline(value)}"]


def _pairs(mapping: dict[str, Any]) -> Iterator[str]:
    yield from (f"{key}: {_inline(value, quote=True)}" for key, value in mapping.items())


def _inline(value: Any, quote: bool = False) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_inline(item) for item in value)}]"
    text = str(value)
    if not isinstance(value, str):
        return text
    is_plain = text and not text.endswith(":") and not (quote and ":" in text)
    return text if is_plain else json.dumps(text)
