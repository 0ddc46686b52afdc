"""A stand-in for Mesos' `mesos-cni-port-mapper`, which comes with Mesos and not with this bundle. For tests only.

It speaks the delegate protocol that a DC/OS network configuration relies on: it gives `name` and `args` to the delegate
configuration, runs the delegate with its own environment, reads `ip4` from the result, and maps host ports to it. Where
the original writes iptables rules, this one writes nft's, with the same matches and comment.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

_TABLE = "m_calico_standin"


def main() -> int:
    """Run one CNI command; the delegate's exit code, or 1 and an error object."""
    try:
        conf = json.load(sys.stdin)
        missing = [name for name in ("name", "chain") if not conf.get(name)]
        if missing or not conf.get("delegate", {}).get("type"):
            return _refuse(f"the network configuration lacks {', '.join(missing) or 'delegate.type'}")
        return _run(conf)
    except (ValueError, OSError, RuntimeError) as error:
        return _refuse(str(error))


def _run(conf: Mapping[str, Any]) -> int:
    container = os.environ["CNI_CONTAINERID"]
    if os.environ["CNI_COMMAND"] == "DEL":
        _unmap(conf["chain"], container)
    status, output = _delegate(conf)
    if status == 0 and os.environ["CNI_COMMAND"] == "ADD":
        _map(conf, container, json.loads(output)["ip4"]["ip"].partition("/")[0])
    sys.stdout.write(output)
    return status


def _delegate(conf: Mapping[str, Any]) -> tuple[int, str]:
    delegate = {**conf["delegate"], "name": conf["name"], "args": conf.get("args", {})}
    for directory in os.environ["CNI_PATH"].split(":"):
        program = os.path.join(directory, delegate["type"])
        if os.access(program, os.X_OK):
            done = subprocess.run([program], input=json.dumps(delegate), stdout=subprocess.PIPE, text=True, check=False)
            return done.returncode, done.stdout
    raise RuntimeError(f"no plugin {delegate['type']} in {os.environ['CNI_PATH']}")


def _map(conf: Mapping[str, Any], container: str, address: str) -> None:
    network_info = conf.get("args", {}).get("org.apache.mesos", {}).get("network_info", {})
    devices = conf.get("excludeDevices", [])
    chain = f"{_TABLE} {conf['chain'].lower().replace('-', '_')}"
    lines = [f"table ip {_TABLE} {{ chain {chain.split()[1]} {{ type nat hook prerouting priority -100; }} }}"]
    for mapping in network_info.get("port_mappings", []):
        match = f'iifname != "{devices[-1].replace("+", "*")}" ' if devices else ""
        match += f"{mapping.get('protocol', 'tcp')} dport {mapping['host_port']}"
        target = f"dnat to {address}:{mapping['container_port']}"
        lines.append(f'add rule ip {chain} {match} {target} comment "container_id: {container}"')
    if len(lines) > 1:
        _nft("-f", "-", given="\n".join(lines) + "\n")


def _unmap(chain: str, container: str) -> None:
    listed = _nft("-j", "-a", "list", "table", "ip", _TABLE, is_needed=False)
    for one in json.loads(listed or "{}").get("nftables", []):
        rule = one.get("rule", {})
        if rule.get("comment") == f"container_id: {container}":
            _nft("delete", "rule", "ip", _TABLE, rule["chain"], "handle", str(rule["handle"]))


def _nft(*arguments: str, given: str = "", is_needed: bool = True) -> str:
    done = subprocess.run(["nft", *arguments], input=given, capture_output=True, text=True, check=False)
    if done.returncode and is_needed:
        raise RuntimeError(f"nft {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout if done.returncode == 0 else ""


def _refuse(text: str) -> int:
    json.dump({"cniVersion": "0.1.0", "code": 100, "msg": text}, sys.stdout)
    return 1


if __name__ == "__main__":
    sys.exit(main())
