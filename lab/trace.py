"""Why a packet passes or does not: `calicoctl policy trace`, asked on the destination's node, in words."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from lab.cluster import Cluster
from lab.instance import LabError
from lab.state import CALICOCTL
from lab.tasks import Task

_FELIX_SECONDS = 30.0


class Trace(NamedTuple):
    """What calicoctl told: the verdict, what decides on each side, and every rule asked, with felix' counters."""

    is_allowed: bool
    summary: str
    text: str


def trace(cluster: Cluster, source: Task, destination: Task, port: int, protocol: str = "tcp") -> Trace:
    """The way from one task to another, with what the destination's felix has dropped so far."""
    machine = cluster.machine(destination.agent)
    words = [CALICOCTL, "policy", "trace", source.address, destination.address, "--protocol", protocol]
    words += ["--port", str(port), "--live", "-o", "json"]
    deadline = time.monotonic() + _FELIX_SECONDS
    while (done := machine.run(words, check=False)).status:
        # felix starts again when its configuration changes, as that of a new cluster does.
        if time.monotonic() > deadline:
            raise LabError(f"{machine.name}: calicoctl policy trace: {(done.stderr or done.stdout).strip()}")
        time.sleep(0.5)
    return parse(done.stdout)


def parse(text: str) -> Trace:
    """What `policy trace -o json` printed."""
    found = json.loads(text)
    summary = "; ".join(f"{stage['direction']}: {stage['why']}" for stage in found["stages"]) or found["why"]
    return Trace(found["verdict"] == "allow", summary, "\n".join(_lines(found)))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for stage in found["stages"]:
        yield f"{stage['direction']} of {stage['endpoint']} on {stage['node']}: {stage['verdict']}"
        for step in stage["steps"]:
            rule = f", rule {step['rule']}" if step["rule"] else ""
            yield f"  {step['what']} {step['name']}{rule}: {step['result']}: {step['why']}"
    for drop in found.get("drops", []):
        where = f"{drop['interface']} {drop['direction']}"
        yield f"dropped by this felix so far: {where}, by {drop['cause']}: {drop['packets']} packets"
