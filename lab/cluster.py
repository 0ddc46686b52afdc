"""A whole cluster: its machines, the bundle they install, and its state, which later commands find again.

/run/dcos-calico-lab/dcl-<name>/
  record              what was made, see lab.instance
  cluster.json        the plan, and whether `up` came to its end
  config.yaml dist/ pki/ served -> dist     what the nodes install
  tasks.json          the applications that run, see lab.tasks
  disk/<node>/        the nodes' own layers
"""

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from lab import bundle, image
from lab.instance import HOME, Instance, LabError, Refusal
from lab.machine import Bind, Machine
from lab.network import Network
from lab.plan import Node, Plan
from lab.server import Server

ROOTFS = "/opt/dcos-lab/rootfs"
PROGRAMS = "/opt/dcos-lab/bin"
PKGPANDA = "/opt/mesosphere/bin/pkgpanda"
_INSTALL_SECONDS = 300.0
_HEALTHY_SECONDS = 180.0
_AT_ONCE = 4

Say = Callable[[str], None]
_T = TypeVar("_T")


def silent(_: str) -> None:
    """Say nothing."""


class Cluster:
    """A lab with nodes; `create` and `up` make it, `open` finds one that is there and makes nothing."""

    def __init__(self, instance: Instance, plan: Plan, is_there: bool = False) -> None:
        self.instance = instance
        self.plan = plan
        self.network = Network(instance, plan.subnet, plan.gateway, is_there)
        self.machines = {node.name: self._machine(node, is_there) for node in plan.nodes}
        self.server = Server(instance, self.network, plan.url)
        self.guard = threading.Lock()

    def _machine(self, node: Node, is_there: bool) -> Machine:
        recipe, binds = (image.AGENT, _agent_binds()) if node.is_agent else (image.NODE, ())
        root = None if is_there else image.ensure(recipe)
        return Machine(self.instance, self.network, root, node.name, node.address, binds)

    @classmethod
    def create(cls, plan: Plan, name: str = "", owner: int = 0, home: Path = HOME, say: Say = silent) -> "Cluster":
        """A lab with its machines, switched off. The roots are built first, where the cache does not have them."""
        for recipe, what in ((image.NODE, "a node"), (image.AGENT, "an agent"), (image.CONTAINER, "a container")):
            if not image.is_cached(recipe):
                say(f"building the root of {what} (once)")
            image.ensure(recipe)
        instance = Instance.create(home, name, owner)
        if name:
            instance.record_self()
        _write(instance, plan, ready=False)
        return cls(instance, plan)

    @classmethod
    def open(cls, name: str, home: Path = HOME) -> "Cluster":
        """The lab of that name; LabError when there is none, or when its `up` did not come to its end."""
        instance = Instance(home / f"dcl-{name}")
        try:
            stored = json.loads((instance.directory / "cluster.json").read_text())
        except FileNotFoundError:
            raise Refusal(f"there is no lab {name!r}: `lab up` makes it") from None
        if not stored.pop("ready"):
            raise Refusal(f"the lab {name!r} did not come up: `lab down` removes what there is of it")
        return cls(instance, Plan.from_json(stored), is_there=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One change of the lab at a time; others wait."""
        with (self.instance.directory / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    # ------------------------------------------------------------------------------------------ who is there

    def node(self, name: str) -> Node:
        """The node of that name."""
        for node in self.plan.nodes:
            if node.name == name:
                return node
        raise Refusal(f"there is no node {name!r}; there are: {', '.join(self.machines)}")

    def machine(self, name: str) -> Machine:
        """The machine of that name."""
        return self.machines[self.node(name).name]

    def masters(self) -> list[Machine]:
        """The masters."""
        return [self.machines[node.name] for node in self.plan.nodes if not node.is_agent]

    def agents(self) -> list[Machine]:
        """The machines that run containers."""
        return [self.machines[node.name] for node in self.plan.nodes if node.is_agent]

    def running(self) -> list[Machine]:
        """Those that are switched on."""
        return [machine for machine in self.machines.values() if machine.is_running]

    def report(self) -> str:
        """The state of every node, for someone who looks into a failure."""
        return "\n".join(machine.report() for machine in self.machines.values())

    # ------------------------------------------------------------------------------------------ up

    def up(self, say: Say = silent) -> None:
        """Boot every node, install the bundle as its guide says, and return when all of it is healthy."""
        home = self.instance.directory
        say("building the bundle")
        config = home / "config.yaml"
        config.write_text(self.plan.config())
        bundle.build(config, home / "dist")
        if self.has_keys:
            bundle.make_keys(home / "pki", config)
        self.server.serve(home / "dist")
        self.server.start()
        say(f"booting {len(self.machines)} nodes")
        _each(self.machines.values(), lambda machine: machine.boot())
        say("installing")
        _each(self.plan.nodes, lambda node: self._install_one(node, say))
        self.wait_until_healthy()
        _write(self.instance, self.plan, ready=True)

    @property
    def has_keys(self) -> bool:
        """Whether nodes need certificates."""
        values = self.plan.values
        return bool(values.get("calico_enabled", True) and values.get("calico_etcd_tls", True))

    def _install_one(self, node: Node, say: Say) -> None:
        self.install(node.name)
        say(f"{node.name} is installed")

    def install(self, name: str, *options: str) -> str:
        """Fetch dcos_install.sh on a node and run it, by the words of the guide; what it said."""
        node, machine = self.node(name), self.machines[name]
        words = ["bash", "dcos_install.sh", *options, *self._keys(node), node.role]
        fetch = f"curl -fsSLO --retry 5 --retry-connrefused {self.plan.url}/dcos_install.sh"
        done = machine.run(f"cd /root && {fetch} && {' '.join(words)}", timeout=_INSTALL_SECONDS)
        return done.stdout + done.stderr

    def _keys(self, node: Node) -> list[str]:
        source = self.instance.directory / "pki/nodes" / node.address
        if not self.has_keys or not source.is_dir():
            return []
        shutil.copytree(source, self.machines[node.name].root / "root/pki", dirs_exist_ok=True)
        return ["--pki", "/root/pki"]

    def wait_until_healthy(self, names: Iterable[str] = (), timeout: float = _HEALTHY_SECONDS) -> None:
        """Wait until nodes (all that are on) have no job left, no failed unit, and pass every package's own check."""
        machines = [self.machine(name) for name in names] or self.running()
        _each(machines, lambda machine: _wait_until_healthy(machine, timeout))

    # ------------------------------------------------------------------------------------------ changes

    def upgrade(self, directory: Path, say: Say = silent) -> None:
        """Serve another bundle and upgrade to it node by node, masters first, each healthy before the next."""
        if not (directory / "dcos_install.sh").is_file():
            raise Refusal(f"{directory}: is no bundle, it has no dcos_install.sh (make bundle makes one)")
        self.server.serve(directory)
        for node in self.plan.nodes:
            say(f"upgrading {node.name}")
            self.install(node.name, "--upgrade")
            self.wait_until_healthy([node.name])

    def reconfigure(self, changes: dict[str, Any], say: Say = silent) -> None:
        """Upgrade to the bundle of this lab's configuration with `changes`."""
        home = self.instance.directory
        plan = self.plan._replace(values={**self.plan.values, **changes})
        config = home / "config.yaml"
        config.with_suffix(".new").write_text(plan.config())
        number = 1 + sum(1 for _ in home.glob("dist*"))
        output = home / f"dist-{number}"
        say("building the bundle")
        bundle.build(config.with_suffix(".new"), output)
        config.with_suffix(".new").rename(config)
        self.plan = plan
        _write(self.instance, plan, ready=True)
        self.upgrade(output, say)


def _agent_binds() -> tuple[Bind, ...]:
    """What an agent sees of the lab, and a plain file system for Docker, which stacks layers of its own."""
    programs = Path(__file__).with_name("node")
    return (
        Bind(ROOTFS, str(image.ensure(image.CONTAINER))),
        Bind(PROGRAMS, str(programs)),
        Bind("/var/lib/docker"),
    )


def _wait_until_healthy(machine: Machine, timeout: float) -> None:
    machine.wait_until("systemctl is-system-running && systemctl is-active dcos.target", timeout, "running")
    machine.wait_until(f"{PKGPANDA} check", timeout, "healthy by its packages' checks")


def _write(instance: Instance, plan: Plan, ready: bool) -> None:
    write_json(instance.directory / "cluster.json", {**plan.to_json(), "ready": ready})


def write_json(path: Path, content: object) -> None:
    """Replace a file of the lab's state in one rename."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    draft.write_text(json.dumps(content, indent=1))
    draft.rename(path)


def each_at_once(items: Sequence[_T], action: Callable[[_T], object]) -> list[LabError]:
    """Do it for all, some at once, and return what went wrong when all have ended."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(action, item) for item in items]
    errors = [error for future in futures if (error := future.exception())]
    for error in errors:
        if not isinstance(error, LabError):
            raise error
    return [error for error in errors if isinstance(error, LabError)]


def _each(items: Iterable[_T], action: Callable[[_T], object]) -> None:
    """Do it for all, some at once; what goes wrong is raised when all have ended."""
    if errors := each_at_once(list(items), action):
        raise LabError("\n".join(map(str, errors)))
