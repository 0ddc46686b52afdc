"""Containers as the Universal Container Runtime starts them: a network namespace of their own, the agent's CNI
configuration with what the isolator adds to it, a checkpoint of that, and DEL with the checkpoint."""

import json
import shlex
import time
from typing import TYPE_CHECKING

from lab import cni
from lab.cluster import PROGRAMS
from lab.cni import Checkpoint
from lab.instance import LabError
from lab.machine import Machine

if TYPE_CHECKING:
    from lab.tasks import Task

_PLUGIN_SECONDS = 100.0
_LAUNCH_SECONDS = 30.0
_UNIT = "lab-task-"
ID_SERVER = "id-server"


def start(machine: Machine, task: "Task") -> str:
    """Start a container; its address. What was made is undone when the plugin or the container refuses."""
    checkpoint = Checkpoint(task.container, task.app.network)
    conf = cni.find_configuration(_configurations(machine), task.app.network)
    machine.write_file(checkpoint.configuration, json.dumps(cni.configuration(conf, task.app.labels, task.app.ports)))
    try:
        return _connect_and_launch(machine, task, checkpoint)
    except LabError as error:
        try:
            clean_up(machine, task.container)
        except LabError as second:
            raise LabError(f"{error}\nand what was made could not be undone: {second}") from None
        raise


def _configurations(machine: Machine) -> dict[str, str]:
    """The CNI configurations that the agent is told to read: path -> text."""
    listed = machine.run(
        f"""
        MESOS_NETWORK_CNI_CONFIG_DIR={cni.CONFIGURATIONS}
        [ ! -e {cni.SETTINGS} ] || . {cni.SETTINGS}
        for f in "$MESOS_NETWORK_CNI_CONFIG_DIR"/*; do echo "$f"; tr -d '\\n' <"$f"; echo; done
        """
    )
    lines = listed.stdout.splitlines()
    return dict(zip(lines[::2], lines[1::2], strict=True))


def _connect_and_launch(machine: Machine, task: "Task", checkpoint: Checkpoint) -> str:
    namespace = checkpoint.namespace
    machine.run(f"mkdir -p {namespace.rpartition('/')[0]} && : >{namespace} && unshare --net={namespace} true")
    answer = _plugin(machine, "ADD", checkpoint, namespace)
    machine.write_file(checkpoint.info, answer)
    address = cni.address_in(answer)
    environment = {**task.app.environment, "ID": task.answer}
    machine.run(
        [
            *("systemd-run", "--quiet", "--collect", f"--unit={_UNIT}{task.container}", "--property=KillSignal=KILL"),
            *(f"--setenv={key}={value}" for key, value in environment.items()),
            *(f"{PROGRAMS}/launch", namespace, task.app.name, task.app.command or ID_SERVER),
        ]
    )
    _wait_until_inside(machine, task)
    return address


def _wait_until_inside(machine: Machine, task: "Task") -> None:
    """Wait until the container's first process has the container's root."""
    unit = f"{_UNIT}{task.container}.service"
    probe = f"""
        main=$(systemctl show --property=MainPID --value {unit})
        [ "$main" != 0 ] || exit 2
        child=$(cat "/proc/$main/task/$main/children") && [ -e "/proc/${{child% *}}/root/bin/id-server" ]
    """
    deadline = time.monotonic() + _LAUNCH_SECONDS
    while (status := machine.run(probe, check=False).status) != 0:
        if status == 2 or time.monotonic() > deadline:
            raise LabError(f"{task.id}: did not start on {machine.name}\n{machine.journal(unit, 10)}")
        time.sleep(0.05)


def _plugin(machine: Machine, command: str, checkpoint: Checkpoint, namespace: str) -> str:
    """Run the plugin that the checkpoint names; what it answered. Its refusal fails the container, as in Mesos."""
    text = machine.read_file(checkpoint.configuration)
    name = json.loads(text)["type"]
    given = [f"{key}={value}" for key, value in cni.environment(command, checkpoint.container_id, namespace).items()]
    find = f'for d in {cni.PLUGINS.replace(":", " ")}; do [ ! -x "$d/{name}" ] || exec "$d/{name}"; done; exit 127'
    done = machine.run(["env", "-i", *given, "/bin/sh", "-c", find], timeout=_PLUGIN_SECONDS, check=False, given=text)
    if done.status:
        said = (done.stdout + done.stderr).strip() or f"no plugin {name!r} in {cni.PLUGINS}"
        raise LabError(f"{machine.name}: the CNI plugin {name!r} failed to {command} {checkpoint.container_id}: {said}")
    return done.stdout


def stop(machine: Machine, task: "Task") -> None:
    """Kill a container, let the plugin take its network down, and forget it."""
    clean_up(machine, task.container)


def clean_up(machine: Machine, container: str) -> None:
    """Whatever there is of a container: processes, networks, namespace, checkpoint. May be repeated."""
    unit = f"{_UNIT}{container}.service"
    machine.run(f"systemctl stop {unit} 2>/dev/null; systemctl reset-failed {unit} 2>/dev/null; true")
    handle = Checkpoint(container, "").namespace
    is_there = machine.run(f"findmnt --noheadings {handle} >/dev/null", check=False).status == 0
    for network in _networks(machine, container):
        _plugin(machine, "DEL", Checkpoint(container, network), handle if is_there else "")
    home, directory = shlex.quote(Checkpoint(container, "").directory), handle.rpartition("/")[0]
    machine.run(f"umount {handle} 2>/dev/null; rm -rf {directory} {home}")


def _networks(machine: Machine, container: str) -> list[str]:
    """The networks of a container that a checkpoint is whole for."""
    directory = Checkpoint(container, "").directory
    listed = machine.run(f"cd {directory} 2>/dev/null && ls */network.conf", check=False).stdout
    return [line.partition("/")[0] for line in listed.splitlines()]


def left_behind(machine: Machine) -> list[str]:
    """The containers that the agent has a checkpoint of and that do not run."""
    listed = machine.run(f"ls {cni.CHECKPOINTS} 2>/dev/null", check=False).stdout.split()
    return [each for each in listed if not _main_pid(machine, each)]


def _main_pid(machine: Machine, container: str) -> int:
    return int(machine.unit(f"{_UNIT}{container}.service", "MainPID").get("MainPID", "0"))


def entry(machine: Machine, task: "Task") -> list[str]:
    """The words that run a command in the container: in its namespaces and its root."""
    main = _main_pid(machine, task.container)
    inside = machine.run(f"cat /proc/{main}/task/{main}/children", check=False).stdout.split() if main else []
    if not inside:
        raise LabError(f"{task.id}: does not run on {machine.name}")
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
    return ["nsenter", f"--target={inside[0]}", *namespaces]
