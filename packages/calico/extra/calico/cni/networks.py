"""The CNI configuration of a network of the cluster: the bundle's of `calico`, with another name, pool and profile."""

import json
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any

from calico.cni.conf import IPAM_TYPE, NETWORK_NAME
from calico.model.registry import Entry

TEMPLATE = "calico.conf"
"""The bundle's file in its directory of CNI configurations."""
MARK = "dcos-calico"
"""The member by which a configuration that was made from the registry is known; plugins pass it over."""


def is_for_mesos(entry: Entry) -> bool:
    """Whether Mesos' containers can be in a network: it has one IPv4 subnet and a name that CNI takes, and stays."""
    return not entry.removing and bool(NETWORK_NAME.fullmatch(entry.name)) and _is_one_ipv4(entry.definition.subnets)


def _is_one_ipv4(subnets: tuple[str, ...]) -> bool:
    try:
        return len([IPv4Network(subnet) for subnet in subnets]) == 1
    except ValueError:
        return False


def configuration(template: Mapping[str, Any], entry: Entry) -> str:
    """The text of a network's file, out of what TEMPLATE holds. Raise ValueError where that has no `delegate`."""
    delegate = template.get("delegate")
    if not isinstance(delegate, dict):
        raise ValueError("has no delegate")
    profile = entry.definition.profile
    document = {
        **template,
        "name": entry.name,
        MARK: "made from the cluster's registry of networks",
        "delegate": {
            **delegate,
            **({"profile": profile} if profile not in ("", entry.name) else {}),
            "ipam": {"type": IPAM_TYPE, "ipv4_pools": list(entry.definition.subnets)},
        },
    }
    return json.dumps(document, indent=2) + "\n"
