"""The applications of a lab: where their containers run, starting and stopping them, and their names.

It does what Marathon and a Mesos agent do between them. What runs is written down in tasks.json before it is started,
so that `stop` finds all of it after a lab was killed; the agents' own checkpoints say how each was connected.
"""

import json
import secrets
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lab import dockertask, ucrtask
from lab.cluster import Cluster, each_at_once, write_json
from lab.instance import LabError, Refusal
from lab.marathon import App, Port

_HOSTS = "/run/dcos-lab/hosts"
_FIRST_PORT, _LAST_PORT = 31000, 31999


class Task(NamedTuple):
    """One container of an application; `container` is its id with the runtime, `answer` is what its /id says."""

    app: App
    agent: str
    container: str
    answer: str
    address: str = ""
    is_running: bool = False

    @property
    def id(self) -> str:
        """Its name, as Marathon makes it."""
        return f"{self.app.id.strip('/').replace('/', '_')}.instance-{self.container}._app.1"

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        app = {**self.app._asdict(), "ports": [list(port) for port in self.app.ports]}
        return {**self._asdict(), "app": app}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Task":
        """A task that was written down."""
        ports = tuple(Port(*port) for port in stored["app"]["ports"])
        return cls(**{**stored, "app": App(**{**stored["app"], "ports": ports})})


class Tasks:
    """The tasks of a cluster. Every change is on disk, and in the containers' names, when the method returns."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._file = cluster.instance.directory / "tasks.json"

    def all(self) -> list[Task]:
        """Those that were started and not stopped."""
        try:
            return [Task.from_json(each) for each in json.loads(self._file.read_text())]
        except FileNotFoundError:
            return []

    def of(self, name: str) -> list[Task]:
        """Those of an application, by its id with or without the first slash, or the one with that container's id."""
        wanted = name.strip("/")
        return [task for task in self.all() if wanted in {task.app.id.strip("/"), task.container, task.id}]

    def one(self, name: str) -> Task:
        """The task of that name, the first where there are several."""
        found = self.of(name)
        if not found:
            apps = sorted({task.app.id.strip("/") for task in self.all()})
            raise Refusal(f"no application {name!r} runs; there are: {', '.join(apps) or 'none'}")
        return found[0]

    def start(self, apps: Sequence[App], at: str = "") -> list[Task]:
        """Start every instance; when one does not start, those that did stay, and it is gone again."""
        agents = {node.name: node.address for node in self.cluster.plan.nodes if node.is_agent}
        if at and at not in agents:
            raise Refusal(f"{at}: is no agent of this lab; there are: {', '.join(agents) or 'none'}")
        running = self.all()
        for app in apps:
            if any(task.app.id == app.id for task in running):
                raise Refusal(f"{app.id}: runs already; `lab stop {app.id.strip('/')}` first")
        planned = place(apps, running, agents, at)
        self._save([*running, *planned])
        self.publish()
        errors = each_at_once(planned, self._start_one)
        started = [task for task in self.all() if task.container in {each.container for each in planned}]
        self.publish()
        if errors:
            raise LabError("\n".join(map(str, errors)))
        return started

    def _start_one(self, task: Task) -> None:
        machine = self.cluster.machine(task.agent)
        try:
            address = _runtime(task.app).start(machine, task)
        except LabError:
            self._forget(task)
            raise
        self._replace(task._replace(address=address, is_running=True))

    def stop(self, tasks: Iterable[Task]) -> None:
        """Stop containers; the network of each is taken down by the same plugin, with the same configuration."""
        errors = each_at_once(list(tasks), self._stop_one)
        self.publish()
        if errors:
            raise LabError("\n".join(map(str, errors)))

    def _stop_one(self, task: Task) -> None:
        machine = self.cluster.machine(task.agent)
        if not machine.is_running:
            raise Refusal(f"{task.id}: its agent {task.agent} is switched off")
        _runtime(task.app).stop(machine, task)
        self._forget(task)

    def run(self, task: Task, command: Sequence[str], timeout: float = 30) -> "tuple[int, str, str]":
        """Run a command in a container, as `dcos task exec` does: its exit status and what it printed."""
        machine = self.cluster.machine(task.agent)
        done = machine.run([*_runtime(task.app).entry(machine, task), *command], timeout=timeout, check=False)
        return done.status, done.stdout, done.stderr

    def entry(self, task: Task) -> list[str]:
        """The words before a command that run it in a container, on the container's agent."""
        words: list[str] = _runtime(task.app).entry(self.cluster.machine(task.agent), task)
        return words

    def recover(self, agent: str) -> list[Task]:
        """What Mesos and Marathon do when an agent comes back from a boot: undo the networks of containers that are
        gone, and start each application's containers again. The new tasks."""
        machine = self.cluster.machine(agent)
        lost = [task for task in self.all() if task.agent == agent]
        for task in lost:
            self._stop_one(task)
        for container in ucrtask.left_behind(machine):
            ucrtask.clean_up(machine, container)
        self.publish()
        fresh = [_again(task) for task in lost]
        self._save([*self.all(), *fresh])
        errors = each_at_once(fresh, self._start_one)
        self.publish()
        if errors:
            raise LabError("\n".join(map(str, errors)))
        return [task for task in self.all() if task.agent == agent]

    # ------------------------------------------------------------------------------------------ names

    def publish(self) -> None:
        """Write the names of all applications where the containers of every agent see them as /etc/hosts."""
        text = hosts(self.all())
        for machine in self.cluster.agents():
            if machine.is_running:
                # In place: containers have this very file.
                machine.run(f"mkdir -p /run/dcos-lab && cat >{_HOSTS}", given=text)

    # ------------------------------------------------------------------------------------------ state

    def _save(self, tasks: Sequence[Task]) -> None:
        write_json(self._file, [task.to_json() for task in tasks])

    def _replace(self, task: Task) -> None:
        with self.cluster.guard:
            self._save([task if each.container == task.container else each for each in self.all()])

    def _forget(self, task: Task) -> None:
        with self.cluster.guard:
            self._save([each for each in self.all() if each.container != task.container])


def _runtime(app: App) -> Any:
    """The module that starts and stops containers of this kind: `start`, `stop`, `entry`."""
    return dockertask if app.runtime == "DOCKER" else ucrtask


def _again(task: Task) -> Task:
    return new_task(task.app, task.agent)


def new_task(app: App, agent: str) -> Task:
    """A task that does not run yet."""
    answer = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(12))
    return Task(app, agent, str(uuid.uuid4()), answer)


def place(apps: Sequence[App], running: Sequence[Task], agents: Mapping[str, str], at: str = "") -> list[Task]:
    """Where each instance goes: the agent that was asked for, or the one with the fewest tasks."""
    if not agents:
        raise Refusal("this lab has no agent to run containers on")
    load = Counter(dict.fromkeys(agents, 0))
    load.update(task.agent for task in running)
    used = {(task.agent, port.host) for task in running for port in task.app.ports}
    placed = []
    for app in apps:
        wanted = [name for name, address in agents.items() if not app.at or app.at in {name, address}]
        if not wanted:
            raise Refusal(f"{app.id}: constraints: no agent is {app.at}; there are: {', '.join(agents.values())}")
        taken: set[str] = set()
        for _ in range(app.instances):
            fit = [at] if at else [name for name in wanted if not (app.spread and name in taken)]
            if not fit:
                raise Refusal(f"{app.id}: UNIQUE asks for {app.instances} agents, and there are {len(wanted)}")
            agent = min(fit, key=lambda name: (load[name], name))
            task = new_task(app._replace(ports=_with_host_ports(app, agent, used)), agent)
            load[agent] += 1
            taken.add(agent)
            placed.append(task)
    return placed


def _with_host_ports(app: App, agent: str, used: set[tuple[str, int]]) -> tuple[Port, ...]:
    """The app's ports with those the agent chooses filled in, and taken from what is free."""
    ports: list[Port] = []
    for port in app.ports:
        host = port.host or next(each for each in range(_FIRST_PORT, _LAST_PORT) if (agent, each) not in used)
        if (agent, host) in used and port.host and not any(each.host == host for each in ports):
            raise Refusal(f"{app.id}: host port {host} of {agent} is taken by another application")
        used.add((agent, host))
        ports.append(port._replace(host=host))
    return tuple(ports)


def hosts(tasks: Iterable[Task]) -> str:
    """The text of /etc/hosts: every application's name with its containers' addresses."""
    lines = [f"{task.address} {task.app.host}" for task in tasks if task.address]
    return "\n".join(["127.0.0.1 localhost", *lines, ""])
