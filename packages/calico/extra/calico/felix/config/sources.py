"""Where parameters come from, the strongest source first:

    environment       FELIX_<Name>, in any case
    file              /etc/calico/felix.cfg: `Name = value` lines under any [section]
    this node         FelixConfiguration node.<hostname>, and the node's own tunnel addresses
    whole cluster     FelixConfiguration default, ClusterInformation default

A resource of which one member cannot be read gives its others: a typing error in one setting must not undo the rest.
"""

import configparser
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from calico.felix.calc.inputs import Node
from calico.model import felixconfiguration
from calico.model.keys import ResourceKey
from calico.model.problems import Report

DEFAULT_FILE = "/etc/calico/felix.cfg"
_VARIABLE = "FELIX_"
_ANNOTATION = "config.projectcalico.org/"


class ConfigError(Exception):
    """A configuration that felix cannot start with: what, where, and what to do."""


class Given(NamedTuple):
    """A parameter as a source gives it; `origin` says where it stands, for people."""

    name: str
    value: str
    origin: str


class Source(NamedTuple):
    """What one source gives. `local`: it is this machine's, not the datastore's. `problems` say what it could not."""

    local: bool
    given: tuple[Given, ...] = ()
    problems: tuple[str, ...] = ()


def from_environment(environment: Mapping[str, str]) -> Source:
    """The variables that begin with FELIX_."""
    found = (name for name in sorted(environment) if name.upper().startswith(_VARIABLE))
    return Source(
        True, tuple(Given(name[len(_VARIABLE) :], environment[name], f"the variable {name}") for name in found)
    )


def from_file(path: str) -> Source:
    """What a file holds; nothing where there is none. Raises ConfigError for one that cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return parse_file(file.read(), path)
    except FileNotFoundError:
        return Source(True)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def parse_file(text: str, path: str) -> Source:
    """The parameters of a file's text, all sections taken together. Raises ConfigError."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None, default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text, path)
    except configparser.Error as error:
        raise ConfigError(f"{path}: {error.message}") from None
    given = [
        Given(name, value or "", f"{path} [{section}]") for section in parser for name, value in parser[section].items()
    ]
    return Source(True, tuple(given))


class ResourceItems(NamedTuple):
    """What a FelixConfiguration or ClusterInformation gives; `ready` is of the latter."""

    given: tuple[Given, ...]
    problems: tuple[str, ...] = ()
    ready: bool = False


def decode_felix_configuration(key: str, raw: bytes, _revision: int = 0) -> ResourceItems:
    """A FelixConfiguration, member by member. Raises ValueError where it is no JSON object."""
    name, document = _read(key, raw)
    origin = f"FelixConfiguration({name})"
    report = Report(origin, strict=False)
    spec = felixconfiguration.SPEC.decode(document.get("spec") or {}, ("spec",), report)
    broken = {problem.path[1] for problem in report.problems if len(problem.path) > 1}
    good = zip(felixconfiguration.SPEC.members, spec, felixconfiguration.SPEC.defaults, strict=True)
    kept = spec._make([default if member.name in broken else value for member, value, default in good])
    items = dict(felixconfiguration.items(kept))
    given = [Given(item, value, origin) for item, value in items.items()]
    return ResourceItems((*given, *_annotations(document, origin)), tuple(map(str, report.problems)))


def _annotations(document: Mapping[str, Any], origin: str) -> Iterable[Given]:
    """Parameters by any name, which an annotation may give; they win over members."""
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    for name, value in (annotations if isinstance(annotations, dict) else {}).items():
        if name.startswith(_ANNOTATION) and isinstance(value, str):
            yield Given(name[len(_ANNOTATION) :], value, f"{origin} annotation {name}")


def decode_cluster_information(key: str, raw: bytes, _revision: int = 0) -> ResourceItems:
    """The ClusterInformation. Raises ValueError where it is no JSON object."""
    name, document = _read(key, raw)
    spec = document.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    origin = f"ClusterInformation({name})"
    names = (("clusterGUID", "ClusterGUID"), ("clusterType", "ClusterType"), ("calicoVersion", "CalicoVersion"))
    given = [Given(item, spec[member], origin) for member, item in names if isinstance(spec.get(member), str)]
    return ResourceItems(tuple(given), (), spec.get("datastoreReady") is True)


def _read(key: str, raw: bytes) -> tuple[str, dict[str, Any]]:
    found = ResourceKey.parse(key)
    document = json.loads(raw)
    if found is None or not isinstance(document, dict):
        raise ValueError("the stored value is not a JSON object")
    return found.name, document


def from_resources(*resources: ResourceItems | None) -> Source:
    """What some resources of the datastore give, the stronger ones first; None for one that is not there."""
    there = [one for one in resources if one is not None]
    given = tuple(item for one in reversed(there) for item in one.given)
    return Source(False, given, tuple(problem for one in there for problem in one.problems))


def of_node(node: Node | None) -> ResourceItems | None:
    """What this node's own resource gives: its tunnels' addresses."""
    if node is None:
        return None
    values = (
        ("IPv4VXLANTunnelAddr", node.vxlan_address),
        ("VXLANTunnelMACAddr", node.vxlan_mac),
        ("IpInIpTunnelAddr", node.ipip_address),
    )
    return ResourceItems(tuple(Given(name, value, f"Node({node.name})") for name, value in values if value))
