"""What the packages bring is enough: in a root that holds glibc and one package, every program finds its libraries."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]  # the first test builds every package

Extracted = Callable[[str], Path]

LOADER = Path("/lib64/ld-linux-x86-64.so.2")
GLIBC = ("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "libresolv.so.2", "librt.so.1", "libutil.so.1")
NATIVE = ("bird", "conntrack", "etcd", "nftables", "python")

PYTHON_MODULES = (
    "asyncio, bz2, concurrent.futures, ctypes, datetime, decimal, email, hashlib, http.client, http.server, ipaddress, "
    "jinja2, json, logging.handlers, lzma, multiprocessing, queue, random, selectors, socket, ssl, struct, subprocess, "
    "tarfile, threading, tomllib, unicodedata, urllib.request, uuid, xml.etree.ElementTree, yaml, zlib, zoneinfo"
)


@pytest.fixture(scope="module")
def empty_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The loader, glibc, /proc, and nothing else: no shell, no /etc, no /dev."""
    root = tmp_path_factory.mktemp("root")
    libraries = root / "lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    (root / "lib64").mkdir()
    (root / "proc").mkdir()
    shutil.copy(LOADER, root / "lib64")
    for name in GLIBC:
        shutil.copy(Path("/lib/x86_64-linux-gnu") / name, libraries)
    return root


@pytest.fixture
def installed(empty_root: Path, extracted: Extracted) -> Iterator[Callable[[str], str]]:
    """Puts a package where a node has it; returns its path inside the root. It is alone there."""
    store = empty_root / "opt/mesosphere/packages"

    def install(name: str) -> str:
        source = extracted(name)
        shutil.copytree(source, store / source.name, symlinks=True)
        return f"/opt/mesosphere/packages/{source.name}"

    yield install
    shutil.rmtree(store, ignore_errors=True)


def start(root: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Runs a program in the root. /proc is there, as on any node: by it the loader learns what $ORIGIN is."""
    inside = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", inside, str(root), *command],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        timeout=30,
    )


def run(root: Path, *command: str) -> str:
    done = start(root, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def elf_files(directory: Path) -> list[Path]:
    found = []
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                found += [path] if file.read(4) == b"\x7fELF" else []
    return found


@pytest.mark.parametrize("name", NATIVE)
def test_every_library_comes_with_the_package_or_is_glibcs(
    name: str, empty_root: Path, installed: Callable[[str], str]
) -> None:
    package = installed(name)
    files = elf_files(empty_root / package.lstrip("/"))
    assert files
    for path in files:
        listing = run(empty_root, str(LOADER), "--list", "/" + str(path.relative_to(empty_root)))
        for line in listing.splitlines():
            assert "not found" not in line, f"{path}: {line}"
            resolved = line.partition(" => ")[2].partition(" (")[0]
            assert not resolved or resolved.startswith((f"{package}/", "/lib/x86_64-linux-gnu/", "/lib64/")), line


def test_packages_of_modules_hold_no_binaries(extracted: Extracted) -> None:
    assert elf_files(extracted("bootstrap")) + elf_files(extracted("calico")) == []


@pytest.mark.parametrize(
    ("name", "program", "expected"),
    [
        ("etcd", "usr/bin/etcd --version", "etcd Version: 3.4"),
        ("etcd", "bin/etcdctl version", "etcdctl version: 3.4"),
        ("nftables", "bin/nft --version", "nftables v1.0"),
        ("bird", "bin/bird --version", "BIRD version 2.0"),
        ("conntrack", "bin/conntrack --version", "conntrack v1.4"),
        ("python", "bin/python3 --version", "Python 3.11"),
    ],
)
def test_each_program_runs(
    name: str, program: str, expected: str, empty_root: Path, installed: Callable[[str], str]
) -> None:
    assert expected in run(empty_root, *f"{installed(name)}/{program}".split())


@pytest.mark.parametrize("program", ["birdc", "birdcl"])
def test_birds_clients_start(program: str, empty_root: Path, installed: Callable[[str], str]) -> None:
    done = start(empty_root, f"{installed('bird')}/bin/{program}", "-s", "/none")
    assert "Unable to connect to server control socket" in done.stdout + done.stderr


def test_python_has_what_daemons_import(empty_root: Path, installed: Callable[[str], str]) -> None:
    program = f"import {PYTHON_MODULES}; print(yaml.__with_libyaml__, ssl.OPENSSL_VERSION)"
    assert run(empty_root, f"{installed('python')}/bin/python3", "-c", program).startswith("True OpenSSL 3.")


def test_every_module_of_the_library_can_be_imported(empty_root: Path, installed: Callable[[str], str]) -> None:
    """Pruning left no module behind that fails for want of another."""
    program = """if 1:
        import importlib, os, pkgutil, sys
        for _, name, _ in pkgutil.iter_modules(sys.path):
            try: importlib.import_module(name)
            except ImportError as error: print(name, error)
    """
    assert run(empty_root, f"{installed('python')}/bin/python3", "-c", program) == ""


def test_python_reads_nothing_of_the_nodes_python(empty_root: Path, installed: Callable[[str], str]) -> None:
    package = installed("python")
    paths = run(empty_root, f"{package}/bin/python3", "-c", "import sys; print(*sys.path, sep='\\n')").split()
    assert paths
    assert all(path.startswith(f"{package}/usr/lib/python3.11") for path in paths)


def test_python_compiles_nothing_on_a_node(empty_root: Path, installed: Callable[[str], str]) -> None:
    package = installed("python")
    run(empty_root, f"{package}/bin/python3", "-c", f"import {PYTHON_MODULES}")
    below = empty_root / package.lstrip("/")
    sources, compiled = (sorted(below.rglob(pattern)) for pattern in ("*.py", "*.pyc"))
    assert len(sources) == len(compiled) > 400
    # PEP 552: bit 0 says "by hash", bit 1 "look at the source"; a time would not be the same in two builds.
    assert {int.from_bytes(path.read_bytes()[4:8], "little") for path in compiled} == {1}


def test_a_thread_may_outlive_the_interpreter(empty_root: Path, installed: Callable[[str], str]) -> None:
    """glibc then wants libgcc_s, by name: without it the process is aborted."""
    program = """if 1:
        import threading, time
        def spin():
            while True: time.sleep(0.0001)
        for _ in range(8): threading.Thread(target=spin, daemon=True).start()
        time.sleep(0.1)
    """
    python = f"{installed('python')}/bin/python3"
    for _ in range(5):
        run(empty_root, python, "-c", program)
