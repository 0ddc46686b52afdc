"""The root of a test node holds what the architecture asks of a host, and nothing the bundle has to bring itself."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import image

pytestmark = pytest.mark.root

BROUGHT_BY_THE_BUNDLE = re.compile(
    r"python[0-9.]*|pypy.*|nft|ip|ss|bridge|tc|birdc?6?|etcd(ctl)?|conntrack|iptables.*|ipset|xtables.*|dockerd?|jq"
)
WITH_DOCKER = re.compile(r"iptables.*|xtables.*|dockerd?")
"""What an agent has on top, for its containers."""
ASKED_OF_A_HOST = ("bash", "chown", "curl", "dbus-daemon", "modprobe", "sha256sum", "systemctl", "tar", "useradd", "xz")


@pytest.fixture(scope="module")
def root() -> Path:
    return image.ensure()


def programs(root: Path) -> Iterator[str]:
    for directory in ("usr/bin", "usr/sbin", "bin", "sbin", "usr/local/bin", "usr/local/sbin", "usr/libexec"):
        yield from (file.name for file in (root / directory).glob("*"))


def test_nothing_the_bundle_brings_is_there_already(root: Path) -> None:
    assert sorted(name for name in programs(root) if BROUGHT_BY_THE_BUNDLE.fullmatch(name)) == []


def test_an_agent_has_docker_on_top_and_nothing_else(root: Path) -> None:
    agent = set(programs(image.ensure(image.AGENT)))
    brought = {name for name in agent if BROUGHT_BY_THE_BUNDLE.fullmatch(name)}
    assert {"docker", "dockerd", "iptables"} <= brought
    assert sorted(name for name in brought if not WITH_DOCKER.fullmatch(name)) == []
    assert set(programs(root)) <= agent


@pytest.mark.parametrize("recipe", [image.NODE, image.AGENT], ids=["node", "agent"])
def test_no_library_of_an_interpreter_is_there_either(recipe: image.Recipe) -> None:
    root = image.ensure(recipe)
    found = [str(file.relative_to(root)) for file in (root / "usr/lib").rglob("*python3*") if "perl" not in file.parts]
    assert found == []


@pytest.mark.parametrize("program", ASKED_OF_A_HOST)
def test_what_is_asked_of_a_host_is_there(root: Path, program: str) -> None:
    assert program in set(programs(root))


def test_its_c_library_is_the_oldest_the_bundle_supports(root: Path) -> None:
    told = subprocess.run(["chroot", root, "/usr/bin/ldd", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[0].endswith("2.36")


def test_it_is_built_once(root: Path) -> None:
    before = root.stat()
    assert image.ensure() == root
    assert root.stat().st_ino == before.st_ino


def test_a_node_gets_an_id_of_its_own(root: Path) -> None:
    assert (root / "etc/machine-id").read_bytes() == b""
