"""Felix' calculation: loading a big cluster, and one change in clusters of several sizes.

The cluster has E local endpoints under 20 policies each, ten remote endpoints for each local one, and P policies of
five rules. Bytes as etcd holds them go in: reading and validating them is part of the cost. The aims: all of 1,000
local and 10,000 remote endpoints and 1,000 policies within 2 s and 120 MB; a change flat in E and P within a factor
of 3.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from calico.datastore.syncer import Update
from calico.felix.calc.graph import Graph
from calico.felix.calc.inputs import decode
from tests.unit.felix import documents
from tests.unit.felix.documents import Item, rule

_OWN = "10.0.0.1"
_PER_ENDPOINT = 20
_CHANGES = 200
_SIZES = ((100, 100), (1000, 100), (100, 1000), (1000, 1000))


class Cost(NamedTuple):
    """Seconds, the middle one and the one that 99 of a hundred stay under."""

    p50: float
    p99: float


def bench(rounds: int) -> list[str]:
    """The figures; cold start is the median of `rounds` runs, each in a process of its own."""
    return [*_cold(rounds), *_warm()]


# -- the cluster -------------------------------------------------------------------------------------------------------


def _items(local: int, policies: int) -> Iterator[Item]:
    groups = max(1, policies // _PER_ENDPOINT)
    for number in range(policies):
        yield _policy(number, groups, 443)
    yield documents.profile("calico", [rule()], [rule()])
    yield documents.pool("p", "172.16.0.0/12", vxlan="Always", nat=True)
    for number in range(100):
        name = f"10.0.0.{number + 1}"
        yield documents.node(name, f"{name}/24", f"172.16.{number}.1")
        for block in range(2):
            yield documents.block(f"172.16.{number}.{block * 64}/26", name, dict.fromkeys(range(60), name))
    for number in range(11 * local):
        yield _endpoint(number, _OWN if number < local else f"10.0.0.{2 + number % 99}", number % groups)


def _policy(number: int, groups: int, port: int) -> Item:
    from_role = {"selector": f"role == 'r{number % 100}'"}
    ingress = [rule(protocol="TCP", source=from_role, destination={"ports": [80 + at, port]}) for at in range(3)]
    egress = [rule(destination={"nets": [f"10.{at}.0.0/16"]}) for at in range(2)]
    types = ["Ingress", "Egress"]
    selector = f"group == 'g{number % groups}'"
    return documents.policy(f"p{number}", selector, order=number % 50, types=types, ingress=ingress, egress=egress)


def _endpoint(number: int, node: str, group: int, role: int | None = None) -> Item:
    labels = {"group": f"g{group}", "role": f"r{number % 100 if role is None else role}", "app": f"a{number % 500}"}
    address = f"172.{17 + number // 62500}.{number // 250 % 250}.{number % 250}"
    key, document = documents.workload(node, f"{number:064x}", address, labels=labels, profiles=["calico"])
    document["spec"] |= {"interfaceName": f"cali{number:011x}", "mac": "ee:ee:ee:ee:ee:ee"}
    return key, document


# -- cold start --------------------------------------------------------------------------------------------------------


def _cold(rounds: int) -> Iterator[str]:
    runs = [json.loads(_in_a_process()) for _ in range(min(rounds, 3))]
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    total = middle["decode"] + middle["update"] + middle["flush"]
    size = "1,000 local and 10,000 remote endpoints, 1,000 policies, 20 per endpoint"
    ratio = f"{total / middle['json']:.0f} times what reading the JSON alone takes"
    yield f"cold start, {size}: {total:.2f} s of a core (aim 2), {ratio}; {middle['memory'] / 1e6:.0f} MB (aim 120)"
    yield (
        f"of it reading and validating {middle['decode']:.2f} s, taking in {middle['update']:.2f} s, "
        f"computing {middle['flush']:.2f} s"
    )


def _in_a_process() -> str:
    """The parts of one cold start, in an interpreter that has done nothing else."""
    command = [sys.executable, "-c", "from tests.bench.calc_bench import cold; cold()"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def cold() -> None:
    """Load the big cluster, and print what each part took, as JSON."""
    from resource import RUSAGE_SELF, getrusage

    raw = [(key, documents.stored(document)) for key, document in _items(1000, 1000)]
    before = getrusage(RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    for _, value in raw:
        json.loads(value)
    parts = {"json": time.process_time() - start, "decode": 0.0, "update": 0.0}
    graph = Graph(_OWN)
    for page in _pages(raw):
        start = time.process_time()
        updates = [Update(key, decode(key, value), 1) for key, value in page]
        middle = time.process_time()
        graph.update(updates)
        parts["decode"] += middle - start
        parts["update"] += time.process_time() - middle
    start = time.process_time()
    graph.flush()
    parts["flush"] = time.process_time() - start
    print(json.dumps({**parts, "memory": (getrusage(RUSAGE_SELF).ru_maxrss - before) * 1024}))


def _pages(raw: list[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    return (raw[start : start + 500] for start in range(0, len(raw), 500))


# -- one change --------------------------------------------------------------------------------------------------------


def _warm() -> Iterator[str]:
    costs = {size: _changes(*size) for size in _SIZES}
    for name in costs[_SIZES[0]]:
        told = [
            f"E={local} P={policies} p50 {costs[local, policies][name].p50 * 1e3:.3f} p99 "
            f"{costs[local, policies][name].p99 * 1e3:.3f} ms"
            for local, policies in _SIZES
        ]
        growth = costs[_SIZES[-1]][name].p50 / costs[_SIZES[0]][name].p50
        yield f"{name}: {'; '.join(told)}; growth {growth:.1f} (aim 3)"


def _changes(local: int, policies: int) -> dict[str, Cost]:
    """What each kind of change costs, reading included, in a cluster of some size."""
    graph = Graph(_OWN)
    graph.update([_update(item) for item in _items(local, policies)])
    graph.flush()
    groups = max(1, policies // _PER_ENDPOINT)
    new, remote = 20 * local, 30 * local
    kinds: dict[str, Callable[[int], Item]] = {
        "one policy rule": lambda at: _policy(at % policies, groups, 1000 + at),
        "one label": lambda at: _endpoint(at % local, _OWN, at % local % groups, 101 + at),
        "one new endpoint": lambda at: _endpoint(new + at, _OWN, at % groups),
        "one set member": lambda at: _endpoint(remote + at, "10.0.0.2", at % groups),
    }
    return {name: _cost(graph, [make(at) for at in range(_CHANGES)]) for name, make in kinds.items()}


def _cost(graph: Graph, items: list[Item]) -> Cost:
    raw = [(key, documents.stored(document)) for key, document in items]
    seconds = []
    for key, value in raw:
        start = time.perf_counter()
        graph.update([Update(key, decode(key, value), 1)])
        graph.flush()
        seconds.append(time.perf_counter() - start)
    seconds.sort()
    return Cost(seconds[len(seconds) // 2], seconds[len(seconds) * 99 // 100])


def _update(item: Item) -> Update:
    return Update(item[0], decode(item[0], documents.stored(item[1])), 1)
