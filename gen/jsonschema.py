"""The table of parameters as JSON Schema, draft 2020-12.

An editor shows help and catches types, ranges and choices as they are typed; whatever concerns several keys, or needs
arithmetic on addresses, is left to `gen validate`.
"""

from typing import Any

from gen.parameters import MTU, TABLE, Parameter, defaults
from gen.validate import known_keys

_V4_PART = r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_V4 = rf"{_V4_PART}(\.{_V4_PART}){{3}}"
_NETWORK4 = rf"^{_V4}/(3[0-2]|[12]?[0-9])$"
_NETWORK6 = r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$"

_OVERLAY: dict[str, Any] = {
    "type": "object",
    "required": ["vtep_subnet", "vtep_subnet6", "vtep_mac_oui", "overlays"],
    "additionalProperties": False,
    "properties": {
        "vtep_subnet": {"type": "string", "pattern": _NETWORK4},
        "vtep_subnet6": {"type": "string", "pattern": _NETWORK6},
        "vtep_mac_oui": {"type": "string", "pattern": "^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$"},
        "vtep_mtu": {"type": "integer", "minimum": MTU[0], "maximum": MTU[1]},
        "overlays": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 13},
                    "subnet": {"type": "string", "pattern": _NETWORK4},
                    "prefix": {"type": "integer", "minimum": 0, "maximum": 32},
                    "subnet6": {"type": "string", "pattern": _NETWORK6},
                    "prefix6": {"type": "integer", "minimum": 0, "maximum": 128},
                    "enabled": {"type": "boolean"},
                },
            },
        },
    },
}

_JSON_TEXT = {"type": "string", "description": "the same as JSON text, as upstream writes it"}


def schema() -> dict[str, Any]:
    """The schema of a whole configuration."""
    properties: dict[str, Any] = {name: _property(parameter) for name, parameter in TABLE.items()}
    properties.update(dict.fromkeys(sorted(known_keys()), True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dcos-calico config.yaml",
        "type": "object",
        "required": [name for name, parameter in TABLE.items() if parameter.required],
        "properties": properties,
        "patternProperties": {"^x_": True},
        "additionalProperties": False,
    }


def _property(parameter: Parameter) -> dict[str, Any]:
    made = {"description": parameter.help, **_form(parameter)}
    if not parameter.required:
        made["default"] = defaults()[parameter.name]
    return made


def _form(parameter: Parameter) -> dict[str, Any]:
    if parameter.kind == "bool":
        return {"enum": [True, False, "true", "false"]}
    if parameter.kind == "int":
        number = {"type": "integer", "minimum": parameter.minimum, "maximum": parameter.maximum}
        return {"anyOf": [number, {"type": "string", "pattern": "^-?(0|[1-9][0-9]*)$"}]}
    if parameter.kind == "nodes":
        return {"anyOf": [{"type": "array", "uniqueItems": True, "items": _text(rf"^{_V4}$")}, _JSON_TEXT]}
    if parameter.kind == "resolvers":
        return {"anyOf": [{"type": "array", "minItems": 1, "items": {"type": "string"}}, _JSON_TEXT]}
    if parameter.kind == "keys":
        return {"anyOf": [{"type": "array", "items": _text("^ed25519:[0-9a-f]{64}$")}, _JSON_TEXT]}
    if parameter.kind == "overlay":
        return {"anyOf": [_OVERLAY, _JSON_TEXT]}
    return _text_form(parameter)


def _text_form(parameter: Parameter) -> dict[str, Any]:
    if parameter.choices:
        return {"enum": list(parameter.choices)}
    if parameter.kind == "name":
        return {"type": ["string", "integer"], "minLength": 1}
    patterns = {
        "address4": rf"^{_V4}$",
        "network4": _NETWORK4,
        "url": "^(https?://[^/]+|file:///.)",
        "script": "^#!",
    }
    return _text(patterns.get(parameter.kind, "."))


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern}
