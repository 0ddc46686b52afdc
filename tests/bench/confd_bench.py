"""BGP of a mesh of 1,000 nodes, seen from one of them: computing and writing BIRD's configuration, and BIRD taking it.

Aims: the first configuration within 0.5 s, a change of one node within 50 ms from the update to BIRD's answer. BIRD
runs in an empty network namespace, so its sessions find nobody. The reference is BIRD's own reading of the same file.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from calico.confd.apply import Applier
from calico.confd.cluster import Gathering
from calico.confd.plan import Settings, plan
from calico.confd.render import render
from calico.datastore.syncer import Update
from calico.model.bgppeer import BGPPeerSpec
from calico.model.ipam import Affinity
from calico.model.ippool import IPPoolSpec
from calico.model.keys import AffinityKey, ResourceKey
from calico.model.metadata import Metadata
from calico.model.node import NodeBGP, NodeSpec
from calico.model.resource import Resource
from tests.servers.bird import Bird, program

_NODES = 1_000
_OWN = Settings("n0")


def bench(rounds: int) -> list[str]:
    """The figures, each the median of `rounds` runs."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        gathering = Gathering()
        gathered = _seconds(lambda: _fill(gathering))
        start = statistics.median(_start_seconds() for _ in range(rounds))
        text = render(plan(gathering.cluster(), _OWN).configuration)
        (directory / "reference.cfg").write_text(text)
        reading = _median(rounds, lambda: _bird_reads(directory))
        planning = _median(rounds, lambda: plan(gathering.cluster(), _OWN))
        rendering = _median(rounds, lambda: render(plan(gathering.cluster(), _OWN).configuration)) - planning
        reference = f"{start / reading:.1f} times bird's reading of it ({reading * 1e3:.0f} ms)"
        lines = [
            f"mesh of {_NODES:,} nodes: {len(text) / 1000:.0f} kB; {gathered * 1e3:.0f} ms to gather the nodes once",
            f"first configuration in a new process, imports included: {start * 1e3:.0f} ms (aim 500), {reference}",
            f"again: {planning * 1e3:.1f} ms to decide, {rendering * 1e3:.1f} ms to write it down",
        ]
        return [*lines, _change(rounds, gathering, directory, reading)]


def _fill(gathering: Gathering) -> None:
    for number in range(_NODES):
        _set_node(gathering, number, 0)
    gathering.on_update(Update(ResourceKey("IPPool", "p").path, Resource("IPPool", Metadata("p"), _POOL), 1))
    peer = Resource("BGPPeer", Metadata("tor"), BGPPeerSpec("", "192.0.2.1", 65001))
    gathering.on_update(Update(ResourceKey("BGPPeer", "tor").path, peer, 1))
    for number in range(8):
        gathering.on_update(Update(AffinityKey("n0", f"10.64.{number}.0/26").path, Affinity("confirmed"), 1))


_POOL = IPPoolSpec("10.64.0.0/16")


def _set_node(gathering: Gathering, number: int, as_number: int) -> None:
    bgp = NodeBGP(as_number or None, f"10.0.{number // 250}.{number % 250 + 1}/16")
    node = Resource("Node", Metadata(f"n{number}"), NodeSpec(bgp))
    gathering.on_update(Update(ResourceKey("Node", f"n{number}").path, node, 1))


def _start_seconds() -> float:
    """Importing everything, gathering, deciding and rendering, as a program that has just started."""
    code = (
        "from tests.bench import confd_bench as b\n"
        "g = b.Gathering(); b._fill(g); b.render(b.plan(g.cluster(), b._OWN).configuration)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    empty = _seconds(lambda: subprocess.run([sys.executable, "-c", ""], env=environment, check=True))
    return _seconds(lambda: subprocess.run([sys.executable, "-c", code], env=environment, check=True)) - empty


def _bird_reads(directory: Path) -> None:
    subprocess.run([program(directory), "-p", "-c", str(directory / "reference.cfg")], check=True)


def _change(rounds: int, gathering: Gathering, directory: Path, reading: float) -> str:
    """One node changes its AS, up to BIRD's answer."""
    if os.geteuid() != 0:
        return "a change of one node: needs root, for a network namespace of BIRD's own"
    bird = Bird(directory / "running", ("unshare", "-n"))
    bird.config.write_text("router id 127.0.0.1;\nprotocol device {}\n")
    bird.start()
    try:
        applier = Applier(str(bird.config), bird.program, bird.socket)
        applier.apply(render(plan(gathering.cluster(), _OWN).configuration))
        turns = iter(range(1, rounds * 2))

        def change() -> None:
            _set_node(gathering, 500, 65000 + next(turns))
            outcome = applier.apply(render(plan(gathering.cluster(), _OWN).configuration))
            assert outcome.written, outcome
            assert outcome.reloaded, outcome

        whole = _median(rounds, change)
    finally:
        bird.kill()
    figure = f"{whole * 1e3:.0f} ms (aim 50), {whole / reading:.1f} times that reading"
    return f"a change of one node, until BIRD has answered: {figure}"


def _median(rounds: int, work: Callable[[], object]) -> float:
    return statistics.median(_seconds(work) for _ in range(rounds))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
