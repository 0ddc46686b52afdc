"""Every command of the pages runs: in the test that asks for it (`tests.samples`), or else here, in a sandbox."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import certifi
import pytest

from manual.pages import DOCS, ROOT, Block, Page, Sample, read
from tests.integration.calicoctl.test_migrate import APPS
from tests.samples import takers, typed
from tests.servers.etcd import Cluster, local_cluster
from tests.servers.marathon import FakeMarathon
from tests.unit.calicoctl.definitions import CASES
from tests.unit.calicoctl.test_migrate_svc import CONFIG, MARATHON, SVC

pytestmark = pytest.mark.timeout(900)
"""The first test may build every package."""

UNRUN = {
    ("README.md", "make test"): "it is what runs this",
    ("docs/explanation/sizing.md", "make bench"): "figures are no test, and take half an hour",
}
"""Commands that no test runs, each with the reason."""

NODE = """\
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: %s}
spec: {bgp: {ipv4Address: %s/24}}
---
"""
POOL = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: p}\nspec: {cidr: 172.29.0.0/16}\n---\n"
CHECKOUT = ("Makefile", "build", "buildinfo.json", "packages", "pkgpanda", "pyproject.toml", "requirements", "tools")
CALICOCTL = f'exec {sys.executable} {ROOT}/packages/calico/extra/run.py calico.calicoctl.cli "$@"'
ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {{namespace: default}}
spec:
  {{node: {node}, orchestrator: cni, containerID: {container}, endpoint: eth0, interfaceName: cali{container},
    ipNetworks: [{address}/32]}}
---
"""

TAKERS = list(takers())
BLOCKS = [block for page in read() for block in page.blocks()]


def is_for_here(sample: Sample) -> bool:
    """Whether no other test runs a command, and it can be run."""
    return (sample.page, typed(sample)) not in UNRUN and not any(taker.takes(sample) for taker in TAKERS)


def texts(block: Block) -> list[str]:
    """What of a block is run here: all of it as one, or where others run some of it, each of the rest alone."""
    samples = list(block.samples)
    mine = [sample.text for sample in samples if is_for_here(sample)]
    return [block.text] if len(mine) == len(samples) else mine


HERE = sorted({block.page for block in BLOCKS if texts(block)})


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = local_cluster(tmp_path_factory.mktemp("etcd"))
    yield cluster
    cluster.stop()


class Sandbox:
    """A directory that looks like a checkout beside a node's commands; `run` is a reader who types a block.

    `instead` has texts of pages and what they are here: addresses of others' machines, directories of the system.
    """

    def __init__(self, directory: Path, etcd: Cluster) -> None:
        self.directory = directory
        self.instead: dict[str, str] = {}
        self._environment = {
            **{name: value for name, value in os.environ.items() if "ETCD" not in name},
            "HOME": str(directory / "home"),
            "PATH": f"{directory}/bin:{directory}/.venv/bin:{os.environ['PATH']}",
            "DCOS_CALICO_CACHE": os.environ.get("DCOS_CALICO_CACHE") or str(Path.home() / ".cache/dcos-calico"),
            "ETCD_ENDPOINTS": etcd.urls[0],
        }
        for name in ("bin", "home", ".venv/bin", "config"):
            (directory / name).mkdir(parents=True)
        (ROOT / "build").mkdir(exist_ok=True)
        for name in (*CHECKOUT, *(f"config/{path.name}" for path in (ROOT / "config").iterdir())):
            (directory / name).symlink_to(ROOT / name)
        for name, module in (("gen", "gen.cli"), ("mkpanda", "pkgpanda.build.cli"), ("release", "release.cli")):
            self.program(name, python(module), ".venv/bin")
        self.program("pip", f'exec {sys.executable} -m pip "$@" --no-index', ".venv/bin")
        (directory / ".venv/.bundle").touch()
        self.program("calicoctl", CALICOCTL)
        self.program("sudo", 'exec "$@"')

    def program(self, name: str, body: str, place: str = "bin") -> None:
        path = self.directory / place / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def run(self, text: str, expected: tuple[int, ...] = (0,)) -> str:
        for written, here in self.instead.items():
            text = text.replace(written, here)
        done = subprocess.run(
            ["bash", "-euc", text],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert "Traceback" not in done.stderr
        assert done.returncode in expected, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout


def python(module: str) -> str:
    """A program of the workstation as a line of shell."""
    return f'PYTHONPATH={ROOT} exec {sys.executable} -c "import sys; from {module} import main; sys.exit(main())" "$@"'


@pytest.fixture
def sandbox(tmp_path: Path, etcd: Cluster) -> Sandbox:
    etcd.ctl("del", "--prefix", "/calico/")
    return Sandbox(tmp_path, etcd)


def node(address: str) -> str:
    """A Node as the agents of this bundle make it, named by its address."""
    return NODE % (address, address)


def _apply(sandbox: Sandbox, text: str) -> None:
    (sandbox.directory / "setup.yaml").write_text(text)
    sandbox.run("calicoctl apply -f setup.yaml")


@contextmanager
def _addresses(sandbox: Sandbox) -> Iterator[None]:
    _apply(sandbox, node("10.0.0.5") + POOL)
    yield


@contextmanager
def _bgp(sandbox: Sandbox) -> Iterator[None]:
    _apply(sandbox, node("10.0.0.11") + node("10.0.0.12"))
    yield


@contextmanager
def _bundle(sandbox: Sandbox) -> Iterator[None]:
    sandbox.instead["/srv/dcos"] = f"{sandbox.directory}/dist"
    yield


@contextmanager
def _certificates(sandbox: Sandbox) -> Iterator[None]:
    """The other machine is a directory of this one."""
    sandbox.program("scp", '[[ $1 == -rp ]] && exec cp "$@"')
    sandbox.instead["root@10.0.0.7:/root/pki"] = "copied"
    yield


@contextmanager
def _image(sandbox: Sandbox) -> Iterator[None]:
    shutil.copy(ROOT / "config/calico.yaml", sandbox.directory / "config.yaml")
    sandbox.instead["--output build/config"] = "--output rendered"
    yield


@contextmanager
def _migrate(sandbox: Sandbox) -> Iterator[None]:
    apps = sandbox.directory / "apps"
    apps.mkdir()
    for case in CASES[:8]:
        (apps / f"{case.name}.json").write_text(case.before)
    (sandbox.directory / "app.json").write_text(CASES[0].before)
    service = sandbox.directory / "my-service"
    service.mkdir()
    for name, text in (("svc.yml", SVC), ("marathon.json.mustache", MARATHON), ("config.json", CONFIG)):
        (service / name).write_text(text)
    (sandbox.directory / "home/.dcos-token").write_text("a-token")
    shutil.copy(certifi.where(), sandbox.directory / "cluster-ca.crt")
    marathon = FakeMarathon("token=a-token").start()
    marathon.apps = {each["id"]: json.loads(json.dumps(each)) for each in APPS}
    sandbox.instead["https://cluster.example/service/marathon"] = marathon.url
    try:
        yield
    finally:
        marathon.stop()


@contextmanager
def _policy(sandbox: Sandbox) -> Iterator[None]:
    bookstore, default_deny, *_ = Page(DOCS / "how-to/policy.md").blocks("yaml")
    (sandbox.directory / "policy.yaml").write_text(bookstore.text)
    (sandbox.directory / "default-deny.yaml").write_text(default_deny.text)
    yield


@contextmanager
def _releases(sandbox: Sandbox) -> Iterator[None]:
    """Releases of this checkout as it is, served over HTTP; a node's program with the key that the guide makes."""
    once = f'[[ $1 != create && $1 != calicoctl ]] || set -- "$@" --allow-dirty --packages {ROOT}/packages'
    sandbox.program("release", f"{once}\n{python('release.cli')}", ".venv/bin")
    pinned = f"--config-dir {sandbox.directory}/node --key $(cut -d' ' -f1 {sandbox.directory}/release-key.pem.pub)"
    sandbox.program("pkgpanda", python("pkgpanda.node.cli").replace('"$@"', f'"$@" {pinned}'))
    store = sandbox.directory / "releases"
    store.mkdir()
    handler = functools.partial(_Quiet, directory=str(store))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    settings = sandbox.directory / "config/release.yaml"
    settings.unlink()
    settings.write_text(f"storage:\n  local: {{kind: local, path: ../releases, url: '{url}'}}\n")
    sandbox.instead |= {"http://downloads.example/calico": url, "/opt/mesosphere/bin/pkgpanda": "pkgpanda"}
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def _trace(sandbox: Sandbox) -> Iterator[None]:
    endpoints = (("10.0.0.5", "web-1", "172.29.0.4"), ("10.0.0.6", "db-1", "172.29.0.9"))
    text = "".join(
        ENDPOINT.format(node=node, container=container, address=address) for node, container, address in endpoints
    )
    _apply(sandbox, node("10.0.0.5") + node("10.0.0.6") + POOL + text)
    yield


@contextmanager
def _troubleshoot(sandbox: Sandbox) -> Iterator[None]:
    _apply(sandbox, POOL)
    yield


@contextmanager
def _upgrade(sandbox: Sandbox) -> Iterator[None]:
    """Two releases, of which one is in the channel stable and the other in testing; the same two as bundles."""
    with _releases(sandbox):
        installed, new = sandbox.directory / "installed.yaml", "config/calico.yaml"
        installed.write_text((ROOT / new).read_text() + "calico_veth_mtu: 1400\n")
        for config, output, channel in ((installed, "dist.old", "stable"), (new, "dist", "testing")):
            sandbox.run(f"release bundle --config {config} --output {output}")
            sandbox.run(f"release create {channel} --config {config}")
        yield


PREPARE: dict[str, Callable[[Sandbox], AbstractContextManager[None]]] = {
    "docs/how-to/addresses.md": _addresses,
    "docs/how-to/bgp.md": _bgp,
    "docs/how-to/blocked.md": _trace,
    "docs/how-to/build-a-bundle.md": _bundle,
    "docs/how-to/certificates.md": _certificates,
    "docs/how-to/dcos-image.md": _image,
    "docs/how-to/migrate.md": _migrate,
    "docs/how-to/policy.md": _policy,
    "docs/how-to/releases.md": _releases,
    "docs/how-to/troubleshoot.md": _troubleshoot,
    "docs/how-to/upgrade.md": _upgrade,
    "docs/reference/calicoctl.md": _trace,
}

EXPECTED = {"calicoctl diff": (0, 1), "calicoctl migrate": (0, 1), "calicoctl ipam check --output": (0, 1)}
"""Where a status other than 0 is an answer: something would change, is to be decided, is less than ten minutes old."""


@pytest.mark.parametrize("page", HERE)
def test_the_commands_of_a_page_run_in_order(sandbox: Sandbox, page: str) -> None:
    with PREPARE.get(page, nullcontext)(sandbox):
        for text in (text for block in BLOCKS if block.page == page for text in texts(block)):
            expected = next((codes for start, codes in EXPECTED.items() if text.startswith(start)), (0,))
            for line in filter(None, text.splitlines()) if len(expected) > 1 else [text]:
                sandbox.run(line, expected)


def test_every_question_of_a_test_for_commands_has_an_answer() -> None:
    samples = [sample for block in BLOCKS for sample in block.samples]
    assert [taker for taker in TAKERS if not any(taker.takes(sample) for sample in samples)] == []
    assert {(sample.page, typed(sample)) for sample in samples} >= UNRUN.keys()


def test_the_policies_of_the_guide_are_valid(sandbox: Sandbox) -> None:
    for number, block in enumerate(Page(DOCS / "how-to/policy.md").blocks("yaml")):
        (sandbox.directory / f"{number}.yaml").write_text(block.text)
        sandbox.run(f"calicoctl apply -f {number}.yaml --dry-run")
