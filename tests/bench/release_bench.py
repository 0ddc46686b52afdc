"""Releases of packages that are built: each command as a whole process, beside plain programs on the same bytes."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_RELEASE = (sys.executable, "-m", "release")
_BARE = (sys.executable, "-I", "-c", "pass")
_POOL = "apiVersion: v1\nkind: ipPool\nmetadata: {cidr: 172.29.0.0/16}\n"
_SUMS = "find . -type f -print0 | xargs -0 sha256sum"


def bench(rounds: int) -> list[str]:
    """The lines of `make bench`."""
    with tempfile.TemporaryDirectory() as directory:
        place = Place(Path(directory))
        place.run("keygen", place.key)
        place.create()
        return list(_lines(place, rounds))


class Place:
    """A local storage and a key, and the commands on them."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.store, self.key = directory, directory / "store", directory / "key.pem"
        self._settings = directory / "release.yaml"
        self._settings.write_text("storage:\n  here: {kind: local, path: store, url: 'http://127.0.0.1:8000'}\n")

    def run(self, *words: object) -> None:
        """A command of `release`."""
        _run([*_RELEASE, *map(str, words)])

    def on_storage(self, *words: object) -> None:
        """A command that takes `--storage`."""
        self.run(*words, "--storage", self._settings)

    def create(self) -> None:
        """The shipped configuration, into the channel testing."""
        words = ("--config", _ROOT / "config/calico.yaml", "--allow-dirty", "--tag", "1.0", "--key", self.key)
        self.on_storage("create", "testing", *words)

    def shell(self, text: str) -> None:
        """A line of shell in the storage."""
        _run(["bash", "-o", "pipefail", "-ec", text], self.store)

    def release(self) -> Path:
        """The documents of the one release."""
        (path,) = (self.store / "releases").iterdir()
        return path


def _lines(place: Place, rounds: int) -> Iterator[str]:
    copy = place.directory / "copy"
    size = sum(path.stat().st_size for path in place.store.rglob("*") if path.is_file()) / 1e6
    create, plain = _turns(
        rounds,
        place.create,
        lambda: place.shell(f"cp -r . {copy} && {_SUMS}"),
        before=lambda: shutil.rmtree(place.store),
        after=lambda: shutil.rmtree(copy),
    )
    yield _line(f"release create, {size:.0f} MB, all of it new", create, "cp -r and sha256sum of it", plain)
    again, sums = _turns(rounds, place.create, lambda: place.shell(_SUMS))
    yield _line("release create, nothing to do", again, "sha256sum", sums)
    verify, read = _turns(
        rounds,
        lambda: place.on_storage("verify", "testing", "--key", f"{place.key}.pub"),
        lambda: place.shell(f"{_SUMS} && find . -name '*.xz' -exec sh -c 'xz -dc $0 | sha256sum' {{}} ';'"),
    )
    yield _line("release verify, every package from the inside", verify, "sha256sum, and of what xz -d makes", read)
    promote, bare = _turns(rounds, lambda: place.on_storage("promote", "testing", "stable"), lambda: _run(_BARE))
    yield _line("release promote", promote, "an interpreter that does nothing", bare)
    yield _signature(place, rounds)
    yield _calicoctl(place, rounds)


def _signature(place: Place, rounds: int) -> str:
    """On the node: a signed script is asked about before it runs."""
    documents, key = place.release(), Path(f"{place.key}.pub").read_text().split()[0]
    (signed,) = documents.glob("SHA256SUMS.*.sig")
    words = [sys.executable, "-m", "pkgpanda.node.cli", "verify-release", str(documents / "dcos_install.sh")]
    words += ["--repository-url", f"file://{place.store}", "--key", key, "--config-dir", str(place.directory / "node")]
    openssl = f"openssl pkeyutl -verify -pubin -inkey {place.key}.pub.pem -rawin -in SHA256SUMS -sigfile {signed.name}"
    ours, theirs = _turns(
        rounds,
        lambda: _run(words),
        lambda: _run(["sh", "-ec", f"{openssl}; sha256sum --quiet --check --ignore-missing SHA256SUMS"], documents),
    )
    return _line("pkgpanda verify-release", ours, "openssl pkeyutl and sha256sum --check", theirs)


def _calicoctl(place: Place, rounds: int) -> str:
    """The file for other hosts: it has no bytecode, so that every start compiles what it imports."""
    program, document = place.directory / "calicoctl", place.directory / "pool.yaml"
    document.write_text(_POOL)
    place.run("calicoctl", "--tag", "v3.14-d2iq.1", "--allow-dirty", "--output", program)
    words = [sys.executable, str(program), "convert", "-f", str(document)]
    ours, bare = _turns(rounds, lambda: _run(words), lambda: _run(_BARE))
    return _line("calicoctl as one file, convert", ours, "an interpreter that does nothing", bare)


def _turns(
    rounds: int,
    ours: Callable[[], object],
    reference: Callable[[], object],
    before: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> tuple[float, float]:
    """Medians of seconds, taken in turns; what comes before and after a turn is outside of them."""
    times = []
    for _ in range(rounds):
        before()
        times.append((_seconds(ours), _seconds(reference)))
        after()
    one, two = (statistics.median(column) for column in zip(*times, strict=True))
    return one, two


def _line(what: str, ours: float, reference: str, seconds: float) -> str:
    return f"{what}: {ours * 1000:.0f} ms; {reference} {seconds * 1000:.0f}, ratio {ours / seconds:.1f}"


def _run(command: Sequence[str], directory: Path = _ROOT) -> None:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"


def _seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin
