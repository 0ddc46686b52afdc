"""The real packages, built once a run (or found where `make bundle` left them), and extracted."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pkgpanda.build.tree import TreeResult, build_tree

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def tree() -> TreeResult:
    """Every package of the tree."""
    return build_tree(ROOT / "packages", ROOT / "buildinfo.json", ROOT / "build", report=lambda line: None)


@pytest.fixture(scope="session")
def extracted(tree: TreeResult, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`extracted("etcd")` is the package's directory, inside a directory of packages as a node has one."""
    store = tmp_path_factory.mktemp("node") / "packages"
    archives = {package.id.name: package for package in tree.packages}

    def get(name: str) -> Path:
        target = store / str(archives[name].id)
        if not target.exists():
            target.mkdir(parents=True)
            subprocess.run(["tar", "-xJf", str(archives[name].archive), "-C", str(target)], check=True)
        return target

    return get
