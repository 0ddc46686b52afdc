"""The table of parameters as a cerberus schema, and cerberus' errors as findings.

Cerberus is wrapped here once. It checks types, ranges, choices and the forms of `gen.kinds`; its own messages and its
error tree go no further than this module. Two things it does at every start are left to a test: reading its own version
through importlib.metadata (40 ms) and validating our schema as a schema (35 ms).
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from gen import kinds
from gen.kinds import Fault
from gen.parameters import MTU, TABLE, Parameter
from gen.problems import Finding, Path


def _import_cerberus() -> ModuleType:
    """Import cerberus with a stand-in for importlib.metadata, which it needs only for its own version number."""
    name = "importlib.metadata"
    if name in sys.modules or "cerberus" in sys.modules:
        return importlib.import_module("cerberus")
    stand_in: Any = ModuleType(name)
    stand_in.PackageNotFoundError = ImportError
    stand_in.version = lambda _name: "unknown"
    sys.modules[name] = stand_in
    try:
        return importlib.import_module("cerberus")
    finally:
        del sys.modules[name]


cerberus: Any = _import_cerberus()
_errors: Any = importlib.import_module("cerberus.errors")

_FAULT = _errors.ErrorDefinition(0x1001, None)
"""An error that carries a Fault."""


class Validator(cerberus.Validator):  # type: ignore[misc]
    """Cerberus with strict types: no bool is a number, no mangled scalar is anything."""

    types_mapping = {  # noqa: RUF012  cerberus reads a class attribute of this name
        **cerberus.Validator.types_mapping,
        "flag": cerberus.TypeDefinition("flag", (bool,), ()),
        "number": cerberus.TypeDefinition("number", (int,), (bool,)),
        "text": cerberus.TypeDefinition("text", (str,), ()),
        "items": cerberus.TypeDefinition("items", (list,), ()),
        "members": cerberus.TypeDefinition("members", (dict,), ()),
    }


def _form(fault_of: Callable[[str], Fault | None]) -> Callable[[str, Any, Callable[..., None]], None]:
    def check(field: str, value: Any, error: Callable[..., None]) -> None:
        if fault := fault_of(value):
            error(field, _FAULT, fault)

    return check


def _text(fault_of: Callable[[str], Fault | None], **more: Any) -> dict[str, Any]:
    return {"type": "text", "check_with": _form(fault_of), **more}


def _items(fault_of: Callable[[str], Fault | None]) -> dict[str, Any]:
    return {"type": "items", "coerce": kinds.read_list, "schema": _text(fault_of)}


_OVERLAY_MEMBER: dict[str, Any] = {
    "name": _text(kinds.overlay_name_fault, required=True),
    "subnet": _text(kinds.network4_fault),
    "prefix": {"type": "number", "min": 0, "max": 32},
    "subnet6": _text(kinds.network6_fault),
    "prefix6": {"type": "number", "min": 0, "max": 128},
    "enabled": {"type": "flag", "default": True},
}

_OVERLAY: dict[str, Any] = {
    "vtep_subnet": _text(kinds.network4_fault, required=True),
    "vtep_subnet6": _text(kinds.network6_fault, required=True),
    "vtep_mac_oui": _text(kinds.mac_fault, required=True),
    "vtep_mtu": {"type": "number", "min": MTU[0], "max": MTU[1], "default": 1500},
    "overlays": {
        "type": "items",
        "required": True,
        "minlength": 1,
        "schema": {"type": "members", "schema": _OVERLAY_MEMBER},
    },
}

_BY_KIND: dict[str, dict[str, Any]] = {
    "bool": {"type": "flag", "coerce": kinds.read_flag},
    "int": {"type": "number", "coerce": kinds.read_number},
    "string": {"type": "text"},
    "name": _text(kinds.name_fault, coerce=kinds.read_text),
    "url": _text(kinds.url_fault),
    "path": _text(kinds.path_fault),
    "script": _text(kinds.script_fault, coerce=kinds.read_script),
    "address4": _text(kinds.address4_fault),
    "address6": _text(kinds.address6_fault, coerce=kinds.read_address6),
    "network4": _text(kinds.network4_fault),
    "endpoints": _text(kinds.endpoints_fault),
    "nodes": _items(kinds.node_fault),
    "resolvers": _items(kinds.resolver_fault),
    "keys": _items(kinds.key_fault),
    "overlay": {"type": "members", "coerce": kinds.read_mapping, "schema": _OVERLAY},
}


def _rules(parameter: Parameter) -> dict[str, Any]:
    limits = {"min": parameter.minimum, "max": parameter.maximum, "allowed": list(parameter.choices) or None}
    return {**_BY_KIND[parameter.kind], **{rule: limit for rule, limit in limits.items() if limit is not None}}


SCHEMA: dict[str, dict[str, Any]] = {name: _rules(parameter) for name, parameter in TABLE.items()}


def check(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """Values of the table's parameters read to native ones, and what is wrong with them; `data` holds no other keys."""
    validator = Validator(allow_unknown=False)
    # Set past the property, which would validate the schema itself; a test does that instead.
    validator._schema = SCHEMA
    validator.validate(dict(data))
    document = dict(validator.document)
    return document, [finding for error in validator._errors for finding in _findings(error)]


def _findings(error: Any) -> Iterator[Finding]:
    if error.is_group_error:
        for child in error.child_errors:
            yield from _findings(child)
        return
    fault = _fault(error)
    path: Path = tuple(error.document_path)
    yield Finding((path,), fault.code, fault.message, fault.hint)


def _fault(error: Any) -> Fault:
    if error.code == _FAULT.code:
        fault: Fault = error.info[0]
        return fault
    describe = _DESCRIPTIONS.get(error.code)
    return describe(error) if describe else Fault("invalid", f"{kinds.shown(error.value)} is not allowed here")


def _bad_type(error: Any) -> Fault:
    return kinds.type_fault(error.value, error.constraint)


def _out_of_range(error: Any) -> Fault:
    bounds = _bounds(tuple(error.document_path))
    return Fault("range", f"{error.value} is out of range", f"use {bounds[0]} to {bounds[1]}")


def _bounds(path: Path) -> tuple[int, int]:
    rules: Any = {"schema": SCHEMA}
    for step in path:
        rules = rules["schema"] if isinstance(step, int) else rules["schema"][step]
    return rules["min"], rules["max"]


def _not_a_choice(error: Any) -> Fault:
    from difflib import get_close_matches

    near = get_close_matches(str(error.value).strip().lower(), error.constraint, 1)
    listed = " or ".join(error.constraint)
    return Fault("choice", f"{kinds.shown(error.value)} is not one of {listed}", f"write {near[0] if near else listed}")


def _missing(error: Any) -> Fault:
    return Fault("missing", "is missing", "add it; gen explain dcos_overlay_network shows an example")


def _unknown(error: Any) -> Fault:
    from difflib import get_close_matches

    path = tuple(error.document_path)
    known = _OVERLAY if len(path) == 2 else _OVERLAY_MEMBER
    near = get_close_matches(str(path[-1]), known, 1)
    return Fault(
        "unknown-key", "is not a key of an overlay network", f"did you mean {near[0]}?" if near else "remove it"
    )


def _empty(_error: Any) -> Fault:
    return Fault("empty", "holds no overlay", "list one, or set dcos_overlay_enable to false")


_DESCRIPTIONS: dict[int, Callable[[Any], Fault]] = {
    _errors.BAD_TYPE.code: _bad_type,
    _errors.MIN_VALUE.code: _out_of_range,
    _errors.MAX_VALUE.code: _out_of_range,
    _errors.UNALLOWED_VALUE.code: _not_a_choice,
    _errors.REQUIRED_FIELD.code: _missing,
    _errors.UNKNOWN_FIELD.code: _unknown,
    _errors.MIN_LENGTH.code: _empty,
}
