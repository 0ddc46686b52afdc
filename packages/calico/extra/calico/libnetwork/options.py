"""What a user may say at `docker network create`: the options of CreateNetwork, and what they mean."""

from collections.abc import Iterator, Mapping
from typing import Any

from calico.libnetwork.errors import DriverError
from calico.model.registry import PROFILE_OPTION, Definition

GENERIC = "com.docker.network.generic"
ENABLE_IPV6, ENABLE_IPV4 = "com.docker.network.enable_ipv6", "com.docker.network.enable_ipv4"
ADDRESS_SPACE_LOCAL, ADDRESS_SPACE_GLOBAL = "CalicoLocalAddressSpace", "CalicoGlobalAddressSpace"

_KINDS: Mapping[str, tuple[type, str]] = {
    ENABLE_IPV6: (bool, "boolean"),
    ENABLE_IPV4: (bool, "boolean"),  # newer engines send it
    PROFILE_OPTION: (str, "string"),
}


def read_network(request: Mapping[str, Any]) -> Definition:
    """The network a CreateNetwork asks for. Raises DriverError with upstream's texts."""
    options, problems = _options(request.get("Options") or {})
    if problems:
        raise DriverError(f"Could not parse options: {', '.join(problems)}")
    families = [*(request.get("IPv4Data") or ()), *(request.get("IPv6Data") or ())]
    _check_ipam(request)
    if any(one.get("AuxAddresses") for one in families):
        raise DriverError("Calico does not support auxiliary addresses: give the address to a container with --ip")
    return Definition(
        subnets=tuple(str(one.get("Pool", "")) for one in families),
        profile=options.get(PROFILE_OPTION, ""),
        ipv6=options.get(ENABLE_IPV6, False),
    )


def _options(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The options of the top level and of the generic part, and what is wrong with them."""
    found, problems = {}, []
    for name, value in _flat(given):
        if name not in _KINDS:
            problems.append(f"Unknown option '{name}'")
        elif not isinstance(value, _KINDS[name][0]):
            problems.append(f"Expecting option '{name}' to be {_KINDS[name][1]}")
        else:
            found[name] = value
    return found, problems


def _flat(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if name == GENERIC:
            yield from (value if isinstance(value, dict) else {}).items()
        else:
            yield name, value


def _check_ipam(request: Mapping[str, Any]) -> None:
    """Only Calico's own IPAM driver says what is asked for here."""
    for one in request.get("IPv4Data") or ():
        if one.get("Gateway") != "0.0.0.0/0":
            raise DriverError("Non-Calico IPAM driver is used. Note: Docker before 1.12.3 is unsupported")
    for one in request.get("IPv6Data") or ():
        if one.get("AddressSpace") not in (ADDRESS_SPACE_GLOBAL, ADDRESS_SPACE_LOCAL):
            raise DriverError("Non-Calico IPAM driver is used")
