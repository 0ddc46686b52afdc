"""What Mesos' network/cni isolator gives a plugin, and what it reads from it: values only.

For each container it keeps what it needs to undo its work, so that a DEL is given exactly what the ADD was:

    /var/lib/mesos/isolators/network/cni/<container id>/<network>/network.conf      the configuration with its args
                                                                 /<interface>/network.info   what ADD answered
    /run/mesos/isolators/network/cni/<container id>/ns                              the container's network namespace

The namespace goes when the agent reboots; the checkpoint does not, and then DEL is called without CNI_NETNS.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lab.instance import LabError
from lab.marathon import Port

INTERFACE = "eth0"
CHECKPOINTS = "/var/lib/mesos/isolators/network/cni"
NAMESPACES = "/var/run/mesos/isolators/network/cni"
CONFIGURATIONS = "/opt/mesosphere/etc/dcos/network/cni"
SETTINGS = "/opt/mesosphere/etc/fragments/mesos/mesos-slave-common"
"""What the bundle adds to the Mesos agent's environment: where Calico is on, another directory of configurations."""
PLUGINS = "/opt/mesosphere/active/calico/cni:/opt/dcos-lab/bin"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Checkpoint(NamedTuple):
    """Where the isolator keeps one container's network."""

    container_id: str
    network: str

    @property
    def directory(self) -> str:
        """All of the container's."""
        return f"{CHECKPOINTS}/{self.container_id}"

    @property
    def configuration(self) -> str:
        """What the plugin was given."""
        return f"{self.directory}/{self.network}/network.conf"

    @property
    def info(self) -> str:
        """What it answered."""
        return f"{self.directory}/{self.network}/{INTERFACE}/network.info"

    @property
    def namespace(self) -> str:
        """The handle of the network namespace."""
        return f"{NAMESPACES}/{self.container_id}/ns"


def environment(command: str, container_id: str, namespace: str) -> dict[str, str]:
    """The environment of a plugin, and nothing else is in it. No namespace: the handle is gone."""
    given = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container_id,
        "CNI_PATH": PLUGINS,
        "CNI_IFNAME": INTERFACE,
        "PATH": _PATH,
    }
    return {**given, "CNI_NETNS": namespace} if namespace else given


def configuration(conf: Mapping[str, Any], labels: Mapping[str, str], ports: Sequence[Port]) -> dict[str, Any]:
    """A network's configuration with what this container asks of it: Mesos' NetworkInfo in protobuf's JSON."""
    network_info: dict[str, Any] = {"ip_addresses": [{"protocol": "IPv4"}], "name": conf["name"]}
    if labels:
        network_info["labels"] = {"labels": [{"key": key, "value": value} for key, value in labels.items()]}
    if ports:
        network_info["port_mappings"] = [
            {"host_port": port.host, "container_port": port.container, "protocol": port.protocol} for port in ports
        ]
    return {**conf, "args": {"org.apache.mesos": {"network_info": network_info}}}


def find_configuration(texts: Mapping[str, str], network: str) -> dict[str, Any]:
    """The configuration whose name is `network`, among the files of an agent (path -> text)."""
    names = []
    for path, text in texts.items():
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise LabError(f"{path}:{error.lineno}:{error.colno}: is not JSON: {error.msg}") from None
        names.append(str(found.get("name")))
        if names[-1] == network:
            return dict(found)
    raise LabError(f"the agent has no CNI configuration named {network!r}, only {', '.join(names) or 'none'}")


def address_in(answer: str) -> str:
    """The IPv4 address of a plugin's answer, of which Mesos reads `ip4` alone."""
    try:
        return str(json.loads(answer)["ip4"]["ip"]).partition("/")[0]
    except (ValueError, KeyError, TypeError):
        raise LabError(
            f"the CNI plugin's answer has no ip4.ip, which Mesos reads: {answer.strip() or 'nothing'}"
        ) from None
