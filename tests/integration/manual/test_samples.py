"""The commands of the pages run: each block of shell here, in a sandbox, or in the test that is named for it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manual.pages import DOCS, ROOT, Block, Page, read
from tests.servers.etcd import Cluster, local_cluster
from tests.unit.calicoctl.definitions import CASES
from tests.unit.calicoctl.test_migrate_svc import CONFIG, MARATHON, SVC

_LIFECYCLE = "tests/e2e/test_node_lifecycle.py"
_LAB = "tests/e2e/test_lab_command.py"
_STORY = "tests/e2e/test_cluster.py"
_RELEASES = "tests/integration/release/test_releases.py"

ELSEWHERE = {
    "README.md": {"make bundle": "tests/integration/release/test_bundle.py"},
    "docs/explanation/signatures.md": {"openssl pkeyutl": _RELEASES},
    "docs/explanation/sizing.md": {"make bench": "tests/bench"},
    "docs/how-to/bgp.md": {"install -d": "tests/integration/confd"},
    "docs/how-to/build-a-bundle.md": {
        "make bundle": "tests/integration/release/test_bundle.py",
        "curl -fLO": _LIFECYCLE,
        ".venv/bin/release verify": "tests/integration/release/test_bundle.py",
    },
    "docs/how-to/dcos-image.md": {".venv/bin/mkpanda build": "tests/integration/mkpanda/test_builds.py"},
    "docs/how-to/diagnose.md": {"sudo calicoctl node diags": "tests/integration/calicoctl/test_diags.py"},
    "docs/how-to/docker.md": {"docker ": "tests/integration/libnetwork"},
    "docs/how-to/lab.md": {"sudo .venv/bin/lab up": _LAB, "lab upgrade": _LAB},
    "docs/how-to/migrate.md": {},
    "docs/how-to/releases.md": {
        ".venv/bin/pip": _RELEASES,
        ".venv/bin/release create": _RELEASES,
        "curl -fLO": _LIFECYCLE,
        "/opt/mesosphere/bin/pkgpanda verify-release": "tests/unit/node/test_signature.py",
        "openssl pkeyutl": _RELEASES,
        ".venv/bin/release prune": _RELEASES,
        ".venv/bin/release calicoctl": _RELEASES,
    },
    "docs/how-to/troubleshoot.md": {"systemctl ": _LIFECYCLE},
    "docs/how-to/upgrade.md": {
        ".venv/bin/release upgrade-script": "tests/integration/release/test_upgrade_script.py",
        "bash dcos_node_upgrade.sh": _LIFECYCLE,
    },
    "docs/tutorial/bookstore.md": {
        "sudo make lab": _STORY,
        "sudo .venv/bin/lab story": _STORY,
        "make bundle": "tests/integration/release/test_bundle.py",
        "sudo .venv/bin/lab": _LAB,
    },
}
"""Page -> how a block begins -> the test that runs its commands."""

NODE = "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: %s}\nspec: {}\n---\n"
POOL = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: p}\nspec: {cidr: 172.29.0.0/16}\n"


def elsewhere(block: Block) -> str:
    """The test that runs a block; empty where it is to be run here."""
    known = ELSEWHERE.get(block.page, {})
    return next((test for start, test in known.items() if block.text.lstrip().startswith(start)), "")


BLOCKS = [block for page in read() for block in page.blocks]
HERE = sorted({block.page for block in BLOCKS if not elsewhere(block)})


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = local_cluster(tmp_path_factory.mktemp("etcd"))
    yield cluster
    cluster.stop()


class Sandbox:
    """A directory that looks like a checkout beside a node's commands; `run` is a reader who types a block."""

    def __init__(self, directory: Path, etcd: Cluster) -> None:
        self.directory = directory
        self._environment = {
            **{name: value for name, value in os.environ.items() if "ETCD" not in name},
            "HOME": str(directory / "home"),
            "PATH": f"{directory}/bin:{directory}/.venv/bin:{os.environ['PATH']}",
            "ETCD_ENDPOINTS": etcd.urls[0],
        }
        for name in ("bin", "home", ".venv/bin"):
            (directory / name).mkdir(parents=True)
        for name in ("config", "packages", "gen", "buildinfo.json", "build"):
            (directory / name).symlink_to(ROOT / name) if (ROOT / name).exists() else None
        for name, module in (("gen", "gen.cli"), ("mkpanda", "pkgpanda.build.cli"), ("release", "release.cli")):
            code = f"import sys; from {module} import main; sys.exit(main())"
            self.program(name, f'PYTHONPATH={ROOT} exec {sys.executable} -c "{code}" "$@"', ".venv/bin")
        run = ROOT / "packages/calico/extra/run.py"
        self.program("calicoctl", f'exec {sys.executable} {run} calico.calicoctl.cli "$@"')
        self.program("scp", "exit 0")
        self.program("make", "exit 0")

    def program(self, name: str, body: str, place: str = "bin") -> None:
        path = self.directory / place / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def run(self, text: str, expected: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            ["bash", "-euc", text],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert "Traceback" not in done.stderr
        assert done.returncode in expected, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def sandbox(tmp_path: Path, etcd: Cluster) -> Sandbox:
    etcd.ctl("del", "--prefix", "/calico/")
    return Sandbox(tmp_path, etcd)


def _apply(sandbox: Sandbox, text: str) -> None:
    (sandbox.directory / "setup.yaml").write_text(text)
    sandbox.run("calicoctl apply -f setup.yaml")


def _addresses(sandbox: Sandbox) -> None:
    _apply(sandbox, NODE % "10.0.0.5" + POOL)


def _bgp(sandbox: Sandbox) -> None:
    _apply(sandbox, NODE % "10.0.0.11" + NODE % "10.0.0.12")


def _image(sandbox: Sandbox) -> None:
    shutil.copy(ROOT / "config/calico.yaml", sandbox.directory / "config.yaml")
    sandbox.directory.joinpath("build").unlink(missing_ok=True)


def _migrate(sandbox: Sandbox) -> None:
    apps = sandbox.directory / "apps"
    apps.mkdir()
    for case in CASES[:8]:
        (apps / f"{case.name}.json").write_text(case.before)
    (sandbox.directory / "app.json").write_text(CASES[0].before)
    service = sandbox.directory / "my-service"
    service.mkdir()
    for name, text in (("svc.yml", SVC), ("marathon.json.mustache", MARATHON), ("config.json", CONFIG)):
        (service / name).write_text(text)
    # Marathon itself is away here; tests/integration/calicoctl/test_migrate.py has one.
    real = ROOT / "packages/calico/extra/run.py"
    body = f'[[ $* == *https://* ]] || exec {sys.executable} {real} calico.calicoctl.cli "$@"'
    sandbox.program("calicoctl", body)


def _networks(sandbox: Sandbox) -> None:
    _apply(sandbox, POOL)
    # On a node the file of `calico` is there; tests/unit/calicoctl/test_network.py has one.
    real = ROOT / "packages/calico/extra/run.py"
    body = f'[[ $2 == cni ]] || exec {sys.executable} {real} calico.calicoctl.cli "$@"'
    sandbox.program("calicoctl", body)


def _policy(sandbox: Sandbox) -> None:
    bookstore, default_deny, *_ = Page(DOCS / "how-to/policy.md").fenced("yaml")
    (sandbox.directory / "policy.yaml").write_text(bookstore)
    (sandbox.directory / "default-deny.yaml").write_text(default_deny)


def _troubleshoot(sandbox: Sandbox) -> None:
    _apply(sandbox, POOL)
    sandbox.program("journalctl", "exit 0")


def _upgrade(sandbox: Sandbox) -> None:
    shutil.copy(ROOT / "config/calico.yaml", sandbox.directory / "installed.yaml")


PREPARE: dict[str, Callable[[Sandbox], None]] = {
    "docs/how-to/addresses.md": _addresses,
    "docs/how-to/bgp.md": _bgp,
    "docs/how-to/dcos-image.md": _image,
    "docs/how-to/migrate.md": _migrate,
    "docs/how-to/networks.md": _networks,
    "docs/how-to/policy.md": _policy,
    "docs/how-to/troubleshoot.md": _troubleshoot,
    "docs/how-to/upgrade.md": _upgrade,
}

EXPECTED = {"calicoctl diff": (0, 1), "calicoctl migrate": (0, 1), "calicoctl ipam check --output": (0, 1)}
"""Where a status other than 0 is an answer: something would change, is to be decided, is less than ten minutes old."""


@pytest.mark.parametrize("page", HERE)
def test_the_commands_of_a_page_run_in_order(sandbox: Sandbox, page: str) -> None:
    if page in PREPARE:
        PREPARE[page](sandbox)
    for block in (block for block in BLOCKS if block.page == page and not elsewhere(block)):
        expected = next((codes for start, codes in EXPECTED.items() if block.text.startswith(start)), (0,))
        if len(expected) > 1:
            for line in filter(None, block.text.splitlines()):
                sandbox.run(line, expected)
        else:
            sandbox.run(block.text)


def test_every_other_command_is_named_with_a_test_that_is_there() -> None:
    named = {test for tests in ELSEWHERE.values() for test in tests.values()}
    assert [test for test in sorted(named) if not (ROOT / test).exists()] == []


def test_no_name_is_left_over() -> None:
    for page, known in ELSEWHERE.items():
        texts = [block.text.lstrip() for block in BLOCKS if block.page == page]
        for start in known:
            assert any(text.startswith(start) for text in texts), f"{page}: no block begins with {start!r}"


def test_the_policies_of_the_guide_are_valid(sandbox: Sandbox) -> None:
    for number, text in enumerate(Page(DOCS / "how-to/policy.md").fenced("yaml")):
        (sandbox.directory / f"{number}.yaml").write_text(text)
        sandbox.run(f"calicoctl apply -f {number}.yaml --dry-run")
