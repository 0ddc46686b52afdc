"""ADD and DEL as whole processes, as a runtime starts them, against what they are made of.

The caller runs in the node's namespace, so that nothing but the plugin is timed. The agent and the plugins run under
Debian's Python where that is there, as the bundle's do.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from calico.cni import veth
from calico.datastore.etcd import Etcd, EtcdSettings
from calico.datastore.store import put
from calico.netlink.namespaces import open_namespace
from tests.integration.cni.node import CLIENT, EXTRA, Node, eventually, sweep

_TOGETHER = 20
_CALLER = """
import json, os, subprocess, sys, time
plugin, conf, spaces, rounds = json.loads(sys.argv[1])
def start(command, number):
    environment = {**os.environ, "CNI_COMMAND": command, "CNI_CONTAINERID": f"{number:08x}-aaaa", "CNI_IFNAME": "eth0",
                   "CNI_NETNS": spaces[number]}
    process = subprocess.Popen(plugin, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(conf.encode())
    process.stdin.close()
    return process
def end(process):
    output = process.stdout.read()
    assert process.wait() == 0, output
found = {"ADD": [], "DEL": [], "ADDs": [], "DELs": []}
for _ in range(rounds):
    for command in ("ADD", "DEL"):
        for number in range(len(spaces)):
            begin = time.perf_counter()
            end(start(command, number))
            found[command].append(time.perf_counter() - begin)
    for command in ("ADD", "DEL"):
        begin = time.perf_counter()
        for process in [start(command, number) for number in range(len(spaces))]:
            end(process)
        found[command + "s"].append(time.perf_counter() - begin)
print(json.dumps(found))
"""


def bench(rounds: int) -> list[str]:
    """The lines of `make bench`."""
    sweep()
    python = shutil.which("python3.11", path="/usr/bin") or sys.executable
    with tempfile.TemporaryDirectory() as directory:
        node = Node(Path(directory) / "node")
        try:
            node.start_etcd()
            node.start_agent()
            eventually((node.state / "nodename").exists, "start-up ends")
            spaces = [node.container(f"c{number}").path for number in range(_TOGETHER)]
            floors = _floors(node, python, rounds)
            lines = [*floors.lines(python), *_lines("agent", _called(node, python, spaces, rounds), floors)]
            node.stop_agent()
            return [*lines, *_lines("in-process", _called(node, python, spaces, 1), floors)]
        finally:
            node.remove()


def _idle(python: str, rounds: int) -> float:
    times = []
    for _ in range(rounds * 5):
        begin = time.perf_counter()
        subprocess.run([python, "-I", "-S", "-c", ""], check=True)
        times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times)


class Floors(NamedTuple):
    """What a call is made of, in ms: a process, an interface made or deleted, a transaction of etcd's."""

    process: float
    made: float
    deleted: float
    write: float

    def of(self, command: str) -> float:
        """The least a call can take: two transactions, the address' and the endpoint's, and the interface."""
        return self.process + 2 * self.write + (self.made if command == "ADD" else self.deleted)

    def lines(self, python: str) -> list[str]:
        """As `make bench` shows them."""
        parts = f"interface made {self.made:.1f} ms, deleted {self.deleted:.1f} ms; transaction {self.write:.1f} ms"
        return [f"{python}: bare process {self.process:.1f} ms; bare {parts}"]


def _floors(node: Node, python: str, rounds: int) -> Floors:
    """What the interpreter, the kernel and etcd take for their part."""
    wiring = veth.Wiring(veth.Owner("floor", "eth0"), "califloor", "eth0", 1450, veth.parse(["172.29.255.1/32"]))
    space = node.container("floor")
    made, gone, written = [], [], []

    def kernel() -> None:
        descriptor = open_namespace(space.path)
        for _ in range(rounds * 5):
            begin = time.perf_counter()
            veth.attach(descriptor, wiring)
            attached = time.perf_counter()
            veth.detach(veth.Owner("floor", "eth0"))
            made.append(attached - begin)
            gone.append(time.perf_counter() - attached)

    def etcd() -> None:
        store = Etcd(EtcdSettings((node.url,)))
        for number in range(rounds * 20):
            begin = time.perf_counter()
            put(store, f"/calico/bench/{number % 5}", b"x" * 1000)
            written.append(time.perf_counter() - begin)
        store.close()

    node.space.run(kernel)
    node.space.run(etcd)
    up, down, write = (1000 * statistics.median(times) for times in (made, gone, written))
    return Floors(_idle(python, rounds), up, down, write)


def _called(node: Node, python: str, spaces: list[str], rounds: int) -> dict[str, list[float]]:
    plugin = [python, "-I", str(CLIENT), "calico"]
    asked = json.dumps([plugin, json.dumps(node.conf()), spaces, rounds])
    environment = {**node.environment(), "PYTHONPATH": str(EXTRA)}
    done = subprocess.run(
        [*node.space.prefix, python, "-c", _CALLER, asked], env=environment, check=True, capture_output=True, text=True
    )
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def _lines(how: str, found: dict[str, list[float]], floors: Floors) -> list[str]:
    parts = []
    for command in ("ADD", "DEL"):
        times = sorted(1000 * one for one in found[command])
        p95 = times[int(len(times) * 0.95)]
        together = statistics.median(found[f"{command}s"])
        middle = statistics.median(times)
        line = f"{how}: {command} p50 {middle:.1f} ms (ratio {middle / floors.of(command):.1f}), p95 {p95:.1f} ms"
        parts.append(f"{line}; {_TOGETHER} at once {together:.2f} s")
    return parts
