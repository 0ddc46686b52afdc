"""Mesos' directory of networks: what is there when, what is never touched, and what an interruption leaves."""

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from calico.datastore.errors import DatastoreError
from calico.datastore.memory import MemoryStore
from calico.datastore.store import Delete, Put, Store, listing
from calico.datastore.syncer import Syncer
from calico.model.registry import ENTRIES, PLACEMENTS, Definition, Entry, entry_key, read, write_entry
from calico.node.networks import Files, Placer, follow
from tests.unit.cni.steps import BAD_FATES, Steps
from tests.unit.ipam.actors import Crash, Fate, GatedStore

CALICO = {"name": "calico", "type": "mesos-cni-port-mapper", "delegate": {"type": "calico", "mtu": 1450, "ipam": {}}}
BRIDGE = {"name": "mesos-bridge", "type": "bridge"}


class Machine:
    """A node `a`: the bundle's directory, the agent's, and the cluster's registry."""

    def __init__(self, home: Path) -> None:
        self.bundle, self.state = home / "bundle", home / "state"
        self.bundle.mkdir()
        self.net_d = self.state / "net.d"
        self.render("calico.conf", CALICO)
        self.render("ucr-default-bridge.conf", BRIDGE)
        self.store = MemoryStore()
        self.files = Files(self.state, self.bundle)

    def render(self, name: str, document: Any) -> None:
        """Put a file into the bundle's directory."""
        (self.bundle / name).write_text(json.dumps(document))

    def put(self, name: str, *subnets: str, profile: str = "", removing: bool = False) -> None:
        """Write a network of the cluster."""
        entry = Entry(name, Definition(subnets or ("10.1.0.0/16",), profile), removing)
        self.store.commit([], [Put(entry_key(name), write_entry(entry))])

    def drop(self, name: str) -> None:
        self.store.commit([], [Delete(entry_key(name))])

    def entries(self) -> dict[str, Entry | None]:
        """The registry as the agent reads it."""
        found: dict[str, Entry | None] = {}
        for item in listing(self.store, ENTRIES).items:
            name = item.key.removeprefix(ENTRIES)
            try:
                entry = read(item.key, item.value, item.mod_revision)
                assert isinstance(entry, Entry)
                found[name] = entry
            except ValueError:
                found[name] = None
        return found

    def step(self, store: Store | None = None, entries: Mapping[str, Entry | None] | None = None) -> str:
        """One look of the agent; what it says."""
        placer = Placer(store or self.store, "a", self.files)
        return "; ".join(placer.step(self.entries() if entries is None else entries, True))

    def networks(self) -> dict[str, Any]:
        """What Mesos reads: network -> configuration."""
        documents = [json.loads(path.read_text()) for path in self.net_d.iterdir()]
        return {document["name"]: document for document in documents}

    def placements(self) -> list[str]:
        """The networks of which etcd says that nodes have them."""
        return [item.key.removeprefix(PLACEMENTS) for item in listing(self.store, PLACEMENTS).items]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_mesos_finds_the_bundles_networks_and_those_of_the_cluster(machine: Machine) -> None:
    machine.put("blue", profile="shared")
    assert machine.step() == ""
    found = machine.networks()
    assert found.keys() == {"calico", "mesos-bridge", "blue"}
    assert (found["calico"], found["mesos-bridge"]) == (CALICO, BRIDGE)
    assert found["blue"]["type"] == "mesos-cni-port-mapper"
    assert found["blue"]["delegate"] == {
        "type": "calico",
        "mtu": 1450,
        "profile": "shared",
        "ipam": {"type": "calico-ipam", "ipv4_pools": ["10.1.0.0/16"]},
    }
    assert machine.placements() == ["a/blue"]


def test_the_bundles_are_there_without_a_datastore_and_the_others_stay(machine: Machine) -> None:
    machine.put("blue")
    assert machine.files.link() == ()
    assert machine.networks().keys() == {"calico", "mesos-bridge"}
    machine.step()
    Files(machine.state, machine.bundle).link()
    assert machine.networks().keys() == {"calico", "mesos-bridge", "blue"}


@pytest.mark.parametrize("gone", ["deleted", "removing"])
def test_a_network_that_goes_takes_its_file_and_then_its_placement(machine: Machine, gone: str) -> None:
    machine.put("blue")
    machine.put("red", "10.2.0.0/16")
    machine.step()
    machine.drop("blue") if gone == "deleted" else machine.put("blue", removing=True)
    machine.step()
    assert machine.networks().keys() == {"calico", "mesos-bridge", "red"}
    assert machine.placements() == ["a/red"]


def test_an_upgrade_is_followed(machine: Machine) -> None:
    machine.put("blue")
    machine.step()
    machine.render("calico.conf", {**CALICO, "delegate": {"type": "calico", "mtu": 8900}})
    machine.render("dcos.conf", {"name": "dcos"})
    (machine.bundle / "ucr-default-bridge.conf").unlink()
    machine.step()
    found = machine.networks()
    assert found.keys() == {"calico", "blue", "dcos"}
    assert (found["calico"]["delegate"]["mtu"], found["blue"]["delegate"]["mtu"]) == (8900, 8900)


@pytest.mark.parametrize(
    "subnets", [("10.1.0.0/16", "10.2.0.0/16"), ("fd00::/64",), ("10.1.0.0/16", "fd00::/64"), ("x",)]
)
def test_what_has_not_just_one_ipv4_subnet_has_no_file(machine: Machine, subnets: tuple[str, ...]) -> None:
    machine.put("blue", *subnets)
    assert machine.step() == ""
    assert machine.networks().keys() == {"calico", "mesos-bridge"}
    assert machine.placements() == []


def test_a_name_that_leads_elsewhere_has_no_file(machine: Machine) -> None:
    entry = Entry("../blue", Definition(("10.1.0.0/16",)), revision=1)
    machine.step(entries={"../blue": entry})
    assert machine.networks().keys() == {"calico", "mesos-bridge"}
    assert not list(machine.state.rglob("*blue*"))


@pytest.mark.parametrize("content", ['{"name": "blue", "type": "bridge"}', "{", "", "[]"])
def test_anothers_file_stays_and_the_status_says_what_to_do(machine: Machine, content: str) -> None:
    machine.net_d.mkdir(parents=True)
    (machine.net_d / "blue.conf").write_text(content)
    machine.put("blue")
    assert f"{machine.net_d}/blue.conf is not ours and stays: move it away" in machine.step()
    assert (machine.net_d / "blue.conf").read_text() == content
    assert machine.placements() == []
    machine.drop("blue")
    assert machine.step() == ""
    assert (machine.net_d / "blue.conf").read_text() == content
    (machine.net_d / "blue.conf").unlink()
    machine.put("blue")
    assert machine.step() == ""
    assert machine.networks()["blue"]["delegate"]


def test_anothers_link_directory_and_pipe_stay(machine: Machine, tmp_path: Path) -> None:
    machine.net_d.mkdir(parents=True)
    (machine.net_d / "calico.conf").symlink_to(tmp_path / "elsewhere")
    (machine.net_d / "blue.conf").mkdir()
    os.mkfifo(machine.net_d / "red.conf")
    machine.put("blue")
    machine.put("red", "10.2.0.0/16")
    said = machine.step()
    assert said.count("is not ours and stays") == 3
    assert (machine.net_d / "calico.conf").readlink() == tmp_path / "elsewhere"
    assert (machine.net_d / "blue.conf").is_dir()
    assert (machine.net_d / "red.conf").is_fifo()


def test_a_network_that_two_files_name_is_told(machine: Machine) -> None:
    machine.net_d.mkdir(parents=True)
    (machine.net_d / "mine.conf").write_text('{"name": "blue"}')
    assert machine.step() == ""
    machine.put("blue")
    assert f"{machine.net_d}/mine.conf configures blue, as a file of ours does" in machine.step()


@pytest.mark.parametrize("name", ["mesos-bridge", "ucr-default-bridge"])
def test_the_bundles_networks_are_not_replaced(machine: Machine, name: str) -> None:
    machine.put(name)
    machine.put("calico", "172.29.0.0/16")
    assert machine.step() == f"network {name} has no file for Mesos: the bundle has one of its name"
    assert {name: one.get("dcos-calico") for name, one in machine.networks().items()} == {
        "calico": None,
        "mesos-bridge": None,
    }


def test_a_broken_entry_keeps_the_file_it_has(machine: Machine) -> None:
    machine.put("blue")
    machine.step()
    before = machine.networks()
    machine.store.commit([], [Put(entry_key("blue"), b'{"subnets": 5}')])
    machine.step()
    assert machine.networks() == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "calico"}'])
def test_a_broken_file_of_the_bundle_is_told_and_changes_no_network(machine: Machine, content: str) -> None:
    machine.put("blue")
    machine.step()
    before = (machine.net_d / "blue.conf").read_text()
    (machine.bundle / "calico.conf").write_text(content)
    said = machine.step()
    assert f"network blue: {machine.bundle}/calico.conf has no delegate" in said
    assert (machine.net_d / "blue.conf").read_text() == before
    assert machine.placements() == ["a/blue"]


def test_a_bundle_that_cannot_be_read_changes_nothing(machine: Machine, tmp_path: Path) -> None:
    machine.put("blue")
    machine.step()
    before = sorted(path.name for path in machine.net_d.iterdir())
    machine.bundle.rename(tmp_path / "away")
    with pytest.raises(OSError, match="bundle"):
        machine.step()
    assert sorted(path.name for path in machine.net_d.iterdir()) == before


def test_a_full_disk_is_told_and_leaves_what_is_there(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.put("blue")
    machine.step()
    before = machine.networks()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    machine.render("calico.conf", {**CALICO, "delegate": {"type": "calico", "mtu": 8900}})
    machine.put("red", "10.2.0.0/16")
    with monkeypatch.context() as patched:
        patched.setattr("calico.node.networks.sync_directory", lambda _directory: None)
        patched.setattr(os, "fsync", full)
        said = machine.step()
    assert "blue.conf cannot be written: No space left on device" in said
    assert "red.conf cannot be written: No space left on device" in said
    assert machine.networks()["blue"] == before["blue"]
    assert machine.step() == ""
    assert machine.networks()["red"]["delegate"]["mtu"] == 8900


def test_once_a_network_is_marked_no_file_of_it_comes(machine: Machine) -> None:
    """What `network delete` relies on: it marks, and then looks for placements."""
    machine.put("blue")
    stale = machine.entries()
    machine.put("blue", removing=True)
    machine.step(entries=stale)
    assert machine.placements() == []
    assert "blue" not in machine.networks()


def gated_kernel(steps: Steps) -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """Calls that change the directory, each a step at which the process may die."""
    for name in ("replace", "unlink", "symlink_to"):
        real = getattr(Path, name)

        def call(self: Path, *words: Any, _real: Any = real, **options: Any) -> Any:
            steps.die_perhaps()
            return _real(self, *words, **options)

        yield Path, name, call


@pytest.mark.parametrize("fate", BAD_FATES)
def test_what_ends_anywhere_is_completed_by_the_next(
    tmp_path: Path, fate: Fate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """blue goes, red comes, green changes: an agent dies, or loses an answer, at each call, and another one starts."""
    steps, number, count = Steps(), -1, 0  # at first nothing goes wrong, and the calls are counted
    for changed in gated_kernel(steps):
        monkeypatch.setattr(*changed)
    while number < count:
        home = tmp_path / str(number)
        home.mkdir()
        steps.disarm()
        machine = Machine(home)
        machine.put("blue")
        machine.put("green", "10.3.0.0/16")
        machine.step()
        machine.drop("blue")
        machine.put("red", "10.2.0.0/16")
        machine.put("green", "10.4.0.0/16")
        steps.arm(number, fate)
        with suppress(Crash, DatastoreError):
            machine.step(GatedStore(machine.store, steps.gate))
        count = max(count, steps.count)
        steps.disarm()
        there = {path.name for path in machine.net_d.iterdir() if path.name in ("blue.conf", "red.conf", "green.conf")}
        held = {one.removeprefix("a/") for one in machine.placements()}
        assert {name.removesuffix(".conf") for name in there} <= held, "no file without a placement"
        assert machine.step() == ""
        assert machine.networks().keys() == {"calico", "mesos-bridge", "red", "green"}
        assert machine.networks()["green"]["delegate"]["ipam"]["ipv4_pools"] == ["10.4.0.0/16"]
        assert machine.placements() == ["a/green", "a/red"]
        assert not (machine.state / "staged").exists()
        number += 1
    assert count > 8


def test_what_is_ours_can_be_taken_away_and_nothing_else(machine: Machine) -> None:
    machine.put("blue")
    machine.step()
    (machine.net_d / "mine.conf").write_text("{}")
    machine.files.clear()
    assert [path.name for path in machine.net_d.iterdir()] == ["mine.conf"]
    (machine.net_d / "mine.conf").unlink()
    machine.files.clear()
    assert not machine.state.exists()


def test_the_registry_and_the_bundle_are_followed(machine: Machine) -> None:
    machine.put("blue")
    syncer = Syncer(machine.store, {ENTRIES: read})
    looks = follow(Placer(machine.store, "a", machine.files), syncer, 0.05)
    assert next(looks) == ()
    assert "blue" in machine.networks(), "the first look knows the networks"

    def until(network: str, is_there: bool) -> None:
        for _ in range(100):
            next(looks)
            if (network in machine.networks()) == is_there:
                return
        raise AssertionError(f"{network}: not {is_there}")

    machine.put("red", "10.2.0.0/16")
    until("red", True)
    machine.drop("blue")
    until("blue", False)
    machine.render("dcos.conf", {"name": "dcos"})
    until("dcos", True)
    machine.store.commit([], [Put(entry_key("red"), b"{")])
    for _ in range(3):
        next(looks)
    assert "red" in machine.networks(), "a network that cannot be read stays"
    syncer.stop()
