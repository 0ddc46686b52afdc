"""The bookstore story of DC/OS' Calico README, section 5.3: three applications, a policy, and who reaches whom.

Every step says what the README leads its reader to expect and what was seen; the story went as told when all agree.
"""

import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from lab import marathon, reach
from lab.cluster import Cluster, Say, silent
from lab.instance import Refusal
from lab.reach import Cell
from lab.state import CALICOCTL, Endpoint, endpoints_in, resources
from lab.tasks import Task, Tasks
from lab.trace import trace

HOME = Path(__file__).parent / "stories" / "bookstore"
SERVER, FRIEND, STRANGER = "bookstore-server", "bookstore-frontend", "fruitstore-frontend"
DOCKER = {"none": (), "mixed": (SERVER, STRANGER), "all": (SERVER, FRIEND, STRANGER)}
"""Which applications the Docker Engine runs, by what `lab story --docker` is given."""
_POLICY = "allow-bookstore-cliient-to-server"
_SETTLED_SECONDS = 60.0


class Step(NamedTuple):
    """One step of the story."""

    title: str
    expected: str
    seen: str
    is_as_told: bool


class Outcome(NamedTuple):
    """What came of the story; the page and `--format json` show it."""

    steps: tuple[Step, ...]
    tasks: tuple[Task, ...]
    endpoints: tuple[Endpoint, ...]
    policies: tuple[dict[str, Any], ...]
    before: tuple[Cell, ...]
    after: tuple[Cell, ...]

    @property
    def is_as_told(self) -> bool:
        """Whether every step was."""
        return bool(self.steps) and all(step.is_as_told for step in self.steps)


class Story:
    """Plays it on a cluster: both frontends on one agent and the server on another, or all on one (`on_one_node`).

    The applications named in `docker` are run by the Docker Engine, the others by Mesos' own containerizer.
    """

    def __init__(
        self, cluster: Cluster, say: Say = silent, on_one_node: bool = False, docker: Collection[str] = ()
    ) -> None:
        self.cluster = cluster
        self.docker = docker
        self.tasks = Tasks(cluster)
        self.say = say
        self.steps: list[Step] = []
        agents = [node.name for node in cluster.plan.nodes if node.is_agent]
        if not agents:
            raise Refusal("the story needs an agent")
        first, last = agents[0], agents[0] if on_one_node else agents[-1]
        self.places = {SERVER: last, FRIEND: first, STRANGER: first}

    def play(self, keep: bool = False) -> Outcome:
        """All of it; what it made is removed at the end, or kept for who wants to look."""
        try:
            return self._play()
        finally:
            if not keep:
                self.clean_up()

    def _play(self) -> Outcome:
        self._launch()
        chosen = [self.tasks.one(name) for name in self.places]
        self._requests("before the policy", {FRIEND: True, STRANGER: True})
        before = reach.matrix(self.tasks, chosen)
        self._apply()
        self._requests("with the policy", {STRANGER: False, FRIEND: True})
        after = reach.matrix(self.tasks, chosen)
        self._reason()
        endpoints = endpoints_in(resources(self.cluster, "workloadendpoint"))
        policies = resources(self.cluster, "networkpolicy")
        return Outcome(tuple(self.steps), tuple(chosen), tuple(endpoints), tuple(policies), tuple(before), tuple(after))

    def _launch(self) -> None:
        for name, agent in self.places.items():
            self.say(f"starting {name} on {agent}")
            apps = marathon.read(HOME / f"{name}.json")
            if name in self.docker:
                apps = [app._replace(runtime="DOCKER") for app in apps]
            self.tasks.start(apps, agent)
        seen = ", ".join(f"{task.app.name} {task.address} on {task.agent}" for task in self.tasks.all())
        self._note("launch the three applications", "each runs and has an address", seen, True)

    def _requests(self, when: str, expected: dict[str, bool]) -> None:
        server = self.tasks.one(SERVER)
        for name, is_expected in expected.items():
            self.say(f"{name} asks {SERVER}, {when}")
            cell = self._until(self.tasks.one(name), server, is_expected)
            wanted = f"the server's id, {server.answer}" if is_expected else "no answer: packets are dropped"
            self._note(f"{name} asks {SERVER}, {when}", wanted, cell.said, cell.is_reached == is_expected)

    def _until(self, source: Task, server: Task, is_expected: bool) -> Cell:
        """The first request that ends as expected, or the last: a policy needs a moment to reach a node."""
        deadline = time.monotonic() + _SETTLED_SECONDS
        while (cell := reach.request(self.tasks, source, server)).is_reached != is_expected:
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        return cell

    def _apply(self) -> None:
        machine = self.cluster.machine(self.places[FRIEND])
        machine.write_file("/root/policy.yaml", (HOME / "policy.yaml").read_text())
        self.say("applying the policy")
        done = machine.run(f"{CALICOCTL} apply -f /root/policy.yaml", check=False)
        self._note("apply the policy", "calicoctl succeeds", (done.stdout + done.stderr).strip(), done.status == 0)

    def _reason(self) -> None:
        self.say("asking for the reason")
        why = trace(self.cluster, self.tasks.one(STRANGER), self.tasks.one(SERVER), port=reach.PORT)
        is_named = not why.is_allowed and _POLICY in why.text
        self._note("why the request is dropped", f"a rule of {_POLICY} denies it", why.summary, is_named)

    def _note(self, title: str, expected: str, seen: str, is_as_told: bool) -> None:
        self.steps.append(Step(title, expected, seen, is_as_told))

    def clean_up(self) -> None:
        """Remove the policy and the applications."""
        self.say("removing the applications and the policy")
        machine = self.cluster.machine(self.places[FRIEND])
        machine.run([CALICOCTL, "delete", "networkpolicy", _POLICY, "--skip-not-exists"], check=False)
        self.tasks.stop([task for name in self.places for task in self.tasks.of(name)])
