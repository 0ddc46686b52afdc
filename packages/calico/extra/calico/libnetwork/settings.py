"""What the plugin is told by its environment: upstream's variables, and ours for what upstream does not have."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from calico.datastore.settings import SettingsError
from calico.model.formats import parse_cidr
from calico.node import settings as node_settings

NODENAME_FILE = "/var/lib/calico/nodename"
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


class PluginSettings(NamedTuple):
    """Upstream's: everything up to `debug`. `veth_mtu` 0 is the kernel's own; times are seconds.

    `default_network` is the network every agent has, over `default_subnets`; empty turns that off. `grace` is how long
    something must be seen unused before it is taken back.
    """

    node: str
    namespace: str = "libnetwork"
    interface_prefix: str = "cali"
    create_profiles: bool = True
    label_endpoints: bool = False
    label_timeout: float = 5.0
    veth_mtu: int = 0
    debug: bool = False
    scope: str = "local"
    engine_socket: str = "/var/run/docker.sock"
    plugin_directory: str = "/run/docker/plugins"
    state_directory: str = "/run/calico/libnetwork"
    default_network: str = "calico"
    default_subnets: tuple[str, ...] = ()
    grace: float = 60.0


def from_environment(environment: Mapping[str, str]) -> PluginSettings:
    """The settings that `environment` holds. Raises SettingsError, which names the variable and what it may be.

    Without a name for the node in it, the node's own record and detect_ip are asked.
    """
    given = {
        name.removeprefix("CALICO_LIBNETWORK_"): value
        for name, value in environment.items()
        if name.startswith("CALICO_LIBNETWORK_") and value
    }
    scope = given.get("NETWORK_SCOPE", "local")
    if scope not in ("local", "global"):
        raise SettingsError(f"CALICO_LIBNETWORK_NETWORK_SCOPE is {scope!r}; it is local or global")
    defaults = PluginSettings("")
    return PluginSettings(
        node=given.get("HOSTNAME") or _node_name(environment),
        namespace=given.get("NAMESPACE", defaults.namespace),
        interface_prefix=given.get("IFPREFIX", defaults.interface_prefix),
        create_profiles=given.get("CREATE_PROFILES", "").lower() != "false",
        label_endpoints=given.get("LABEL_ENDPOINTS", "").lower() == "true",
        label_timeout=_duration("LABEL_POLL_TIMEOUT", given, defaults.label_timeout),
        veth_mtu=_number("VETH_MTU", given, defaults.veth_mtu),
        debug=bool(environment.get("CALICO_DEBUG")),
        scope=scope,
        engine_socket=given.get("DOCKER_SOCKET", defaults.engine_socket),
        plugin_directory=given.get("PLUGIN_DIRECTORY", defaults.plugin_directory),
        state_directory=given.get("STATE_DIRECTORY", defaults.state_directory),
        default_network=environment.get("CALICO_LIBNETWORK_DEFAULT_NETWORK", defaults.default_network),
        default_subnets=_subnets("CALICO_IPV4POOL_CIDR", environment),
        grace=_duration("GRACE", given, defaults.grace),
    )


def _node_name(environment: Mapping[str, str]) -> str:
    """The node's name as dcos-calico-node wrote it down; before its first start, what it will be."""
    with suppress(OSError):
        if name := Path(environment.get("CALICO_NODENAME_FILE") or NODENAME_FILE).read_text().strip():
            return name
    try:
        return node_settings.detect_ip(environment)
    except node_settings.SettingsError as error:
        raise SettingsError(str(error)) from None


def _number(name: str, given: Mapping[str, str], default: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise SettingsError(f"CALICO_LIBNETWORK_{name} is {text!r}; it is a number from 0 to 65535")
    return int(text)


def _duration(name: str, given: Mapping[str, str], default: float) -> float:
    """Go's notation of a duration: `5s`, `1m30s`, `0`."""
    text = given.get(name)
    if text is None:
        return default
    parts = _PART.findall(text)
    if text != "0" and "".join(number + unit for number, unit in parts) != text:
        raise SettingsError(f"CALICO_LIBNETWORK_{name} is {text!r}; it is a duration, as 5s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _subnets(variable: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    text = environment.get(variable, "")
    if not text:
        return ()
    parsed = parse_cidr(text)
    if parsed is None:
        raise SettingsError(f"{variable} is {text!r}; it is a network, as 172.29.0.0/16")
    return (str(parsed[1]),)
