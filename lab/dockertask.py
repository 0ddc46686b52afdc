"""Containers as the Docker executor starts them, through the agent's own dockerd: the network by its name, and the
network's labels as Docker labels, from which the libnetwork plugin takes them."""

import json
from typing import TYPE_CHECKING

from lab.cluster import ROOTFS
from lab.instance import LabError
from lab.machine import Machine

if TYPE_CHECKING:
    from lab.tasks import Task

IMAGE = "lab/id-server"
_PREFIX = "org.projectcalico.label."
_SECONDS = 120.0


def start(machine: Machine, task: "Task") -> str:
    """Start a container; its address."""
    if machine.run(["docker", "image", "inspect", IMAGE], check=False).status:
        change = """--change 'ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' --change 'CMD ["id-server"]'"""
        machine.run(f"tar -C {ROOTFS} -cf - . | docker import {change} - {IMAGE}", timeout=_SECONDS)
    done = machine.run(run_words(task), timeout=_SECONDS, check=False)
    if done.status:
        machine.run(["docker", "rm", "--force", _name(task)], check=False)
        raise LabError(f"{machine.name}: docker run {task.id}: {done.stderr.strip()}")
    return _address(machine, task)


def run_words(task: "Task") -> list[str]:
    """The whole `docker run`."""
    app = task.app
    return [
        *("docker", "run", "--detach", "--name", _name(task), "--hostname", app.name, "--network", app.network),
        *(word for key, value in app.labels.items() for word in ("--label", f"{_PREFIX}{key}={value}")),
        *(
            word
            for key, value in {**app.environment, "ID": task.answer}.items()
            for word in ("--env", f"{key}={value}")
        ),
        *(word for port in app.ports for word in ("--publish", f"{port.host}:{port.container}/{port.protocol}")),
        *("--volume", "/run/dcos-lab/hosts:/etc/hosts:ro", IMAGE),
        *(("/bin/sh", "-c", app.command) if app.command else ()),
    ]


def _name(task: "Task") -> str:
    return f"mesos-{task.container}"


def _address(machine: Machine, task: "Task") -> str:
    shown = machine.run(["docker", "inspect", _name(task)]).stdout
    networks = json.loads(shown)[0]["NetworkSettings"]["Networks"]
    return str(networks[task.app.network]["IPAddress"])


def stop(machine: Machine, task: "Task") -> None:
    """Stop a container and forget it; one that is gone is stopped."""
    done = machine.run(["docker", "rm", "--force", _name(task)], timeout=_SECONDS, check=False)
    if done.status and "No such container" not in done.stderr:
        raise LabError(f"{machine.name}: docker rm {task.id}: {done.stderr.strip()}")


def entry(machine: Machine, task: "Task") -> list[str]:
    """The words that run a command in the container."""
    return ["docker", "exec", _name(task)]
