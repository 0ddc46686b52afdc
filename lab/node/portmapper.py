"""The lab's stand-in for DC/OS' mesos-cni-port-mapper. It is part of the lab alone: nothing installs it on a real node.

As the original, it is a CNI plugin around another. ADD runs the plugin of `delegate` with the same environment, then
maps the ports that Mesos' args name: in the chain `chain` of the nat table, jumped to from PREROUTING and OUTPUT for
the node's own addresses, one DNAT a port, except for packets that come in through `excludeDevices`. DEL removes what
bears the container's id, then lets the delegate undo its part. It runs on the agent, with the bundle's Python and the
agent's iptables.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_WRONG_CONFIGURATION = 7
_FAILED = 100


class Refusal(Exception):
    """What is told to the caller: a code and a message, as CNI has them."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Port(NamedTuple):
    """One port of the host that leads to one of the container."""

    host: int
    container: int
    protocol: str


class Settings(NamedTuple):
    """What the configuration says."""

    chain: str
    excluded: str
    delegate: Mapping[str, Any]
    ports: tuple[Port, ...]


def read_settings(conf: Mapping[str, Any]) -> Settings:
    """The configuration's parts; the delegate's own has this one's name and args."""
    for key in ("name", "chain", "delegate"):
        if not conf.get(key):
            raise Refusal(_WRONG_CONFIGURATION, f"Required field '{key}' is missing")
    if not conf["delegate"].get("type"):
        raise Refusal(_WRONG_CONFIGURATION, "Required field 'delegate.type' is missing")
    inherited = {key: conf[key] for key in ("name", "args") if key in conf}
    network_info = conf.get("args", {}).get("org.apache.mesos", {}).get("network_info", {})
    ports = tuple(
        Port(each["host_port"], each["container_port"], each.get("protocol", "tcp").lower())
        for each in network_info.get("port_mappings", [])
    )
    # Only the last of the devices counts, in the original too.
    excluded = (conf.get("excludeDevices") or [""])[-1]
    return Settings(conf["chain"], excluded, {**conf["delegate"], **inherited}, ports)


def address_of(result: Mapping[str, Any]) -> str:
    """The address that the delegate gave, of which only `ip4` is read."""
    try:
        return str(result["ip4"]["ip"]).partition("/")[0]
    except (KeyError, TypeError):
        raise Refusal(_FAILED, "the delegate's result has no ip4") from None


def rules(settings: Settings, address: str, container_id: str) -> Iterator[list[str]]:
    """The words of each rule, behind `-A CHAIN`."""
    for port in settings.ports:
        inbound = ["!", "-i", settings.excluded] if settings.excluded else []
        yield [
            *(*inbound, "-p", port.protocol, "-m", port.protocol, "--dport", str(port.host)),
            *("-m", "comment", "--comment", comment(container_id)),
            *("-j", "DNAT", "--to-destination", f"{address}:{port.container}"),
        ]


def comment(container_id: str) -> str:
    """What marks a container's rules."""
    return f"container_id: {container_id}"


def rules_of(listing: str, container_id: str) -> Iterator[list[str]]:
    """The words of a container's rules, behind `-A CHAIN`, in what `iptables -S` printed."""
    for line in listing.splitlines():
        words = shlex.split(line)
        if words[:1] == ["-A"] and comment(container_id) in words:
            yield words[2:]


def _iptables(*words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    command = ["iptables", "-w", "-t", "nat", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise Refusal(_FAILED, f"{shlex.join(command)}: {done.stderr.strip()}")
    return done


def _ensure_chain(chain: str) -> None:
    _iptables("-N", chain, check=False)
    for hook in ("PREROUTING", "OUTPUT"):
        jump = [hook, "-m", "addrtype", "--dst-type", "LOCAL", "-j", chain]
        if _iptables("-C", *jump, check=False).returncode:
            _iptables("-A", *jump)


def _unmap(settings: Settings, container_id: str) -> None:
    listing = _iptables("-S", settings.chain, check=False)
    for words in rules_of(listing.stdout, container_id):
        _iptables("-D", settings.chain, *words)


def _delegate(settings: Settings) -> str:
    """What the delegate printed; its refusal is passed on as it is."""
    name = settings.delegate["type"]
    places = [Path(directory, name) for directory in os.environ.get("CNI_PATH", "").split(":") if directory]
    program = next((place for place in places if os.access(place, os.X_OK)), None)
    if program is None:
        raise Refusal(_FAILED, f"no plugin {name!r} in CNI_PATH {os.environ.get('CNI_PATH', '')}")
    text = json.dumps(settings.delegate)
    done = subprocess.run([program], input=text, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.stdout.write(done.stdout)
        raise SystemExit(done.returncode)
    return done.stdout


def _run() -> None:
    command, container_id = os.environ.get("CNI_COMMAND", ""), os.environ.get("CNI_CONTAINERID", "")
    if command == "VERSION":
        json.dump({"cniVersion": "0.3.1", "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1"]}, sys.stdout)
        return
    settings = read_settings(json.load(sys.stdin))
    if command == "DEL":
        _unmap(settings, container_id)
        sys.stdout.write(_delegate(settings))
        return
    if command != "ADD":
        raise Refusal(4, f"CNI_COMMAND {command!r} is none of ADD, DEL, VERSION")
    answer = _delegate(settings)
    if settings.ports:
        _ensure_chain(settings.chain)
        for words in rules(settings, address_of(json.loads(answer)), container_id):
            _iptables("-A", settings.chain, *words)
    sys.stdout.write(answer)


def main() -> int:
    """Answer one call."""
    try:
        _run()
    except Refusal as refusal:
        json.dump({"cniVersion": "0.2.0", "code": refusal.code, "msg": str(refusal)}, sys.stdout)
        return 1
    except ValueError as error:
        json.dump({"cniVersion": "0.2.0", "code": 6, "msg": f"the configuration is not JSON: {error}"}, sys.stdout)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
