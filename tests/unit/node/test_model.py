"""Random sequences of commands and crashes against the simplest model there is: sets by number, one of them live."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.node.crashing import Killed, MortalHost
from tests.unit.node.simulation import UNIT, Archive, Machine

_NAMES = ("a", "b", "c")
_VERSIONS = ("1", "2")
_IDS = st.builds("{}--{}".format, st.sampled_from(_NAMES), st.sampled_from(_VERSIONS))
_SETS = st.lists(_IDS, max_size=3, unique_by=lambda text: text[0]).map(sorted)
_FATAL = st.one_of(st.just(-1), st.integers(0, 80))
_SOAK = bool(os.environ.get("DCOS_CALICO_SOAK"))


class NodeModel(RuleBasedStateMachine):
    """`store` is what is in the store, `generations` number -> set, `live` the number of the live one."""

    @initialize()
    def start(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="node-model-"))
        self.machine = Machine(self.base)
        self.machine.host = MortalHost(self.machine.layout.systemd_dir)
        self.archives: dict[str, Archive] = {}
        for name in _NAMES:
            for version in _VERSIONS:
                files = {
                    f"bin/{name}": version,
                    f"dcos.target.wants/{name}.service": UNIT + version,
                    f"etc/x/{name}": "",
                }
                self.archives[f"{name}--{version}"] = self.machine.package(f"{name}--{version}", files)
        self.store: set[str] = set()
        self.generations: dict[int, list[str]] = {}
        self.previous: dict[int, int | None] = {}
        self.live: int | None = None

    def teardown(self) -> None:
        if hasattr(self, "base"):
            shutil.rmtree(self.base)

    def _run(self, fatal: int, *argv: str) -> int | None:
        """A command, perhaps killed and then recovered; its status, None when it was killed."""
        host = self.machine.host
        host.revive()
        host.fatal = fatal
        try:
            return self.machine(*argv)
        except Killed:
            host.revive()
            assert self.machine("setup", "--silent") == 0
            return None
        finally:
            host.revive()

    def _now(self) -> list[str]:
        return self.generations[self.live] if self.live is not None else []

    @rule(package_id=_IDS, fatal=_FATAL)
    def add(self, package_id: str, fatal: int) -> None:
        archive = self.archives[package_id]
        status = self._run(fatal, "add", "--silent", str(archive.path), "--sha256", archive.digest.sha256)
        there = os.path.isdir(self.machine.layout.package(package_id))
        assert there or status is None
        if there:
            self.store.add(package_id)

    @rule(wanted=_SETS, fatal=_FATAL)
    def activate(self, wanted: list[str], fatal: int) -> None:
        self._become(wanted, self._run(fatal, "activate", *wanted))

    @rule(package_id=_IDS, fatal=_FATAL)
    def swap(self, package_id: str, fatal: int) -> None:
        wanted = sorted(package_id if other[0] == package_id[0] else other for other in self._now())
        status = self._run(fatal, "swap", package_id)
        if package_id not in wanted:
            assert status in (1, None)
            return
        self._become(wanted, status)

    def _become(self, wanted: list[str], status: int | None) -> None:
        """The live set is now `wanted`, if it may be; after a kill it is that or the one before."""
        if not set(wanted) <= self.store:
            assert status in (1, None)
            return
        assert status in (0, None)
        became = self.machine.active() == wanted and (status == 0 or self._number() != self.live)
        if (self.live is not None and wanted == self._now()) or (status is None and not became):
            return
        number = self._number()
        assert number is not None and number not in self.generations
        self.generations[number], self.previous[number] = wanted, self.live
        self.live = number
        self._prune(3)

    def _number(self) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return int(os.readlink(f"{self.machine.layout.root}/current").rsplit("/", 1)[-1])
        return None

    def _prune(self, keep: int) -> None:
        kept, number = {other for other in self.generations if self.live is not None and other > self.live}, self.live
        while number is not None and number in self.generations and keep:
            kept.add(number)
            number, keep = self.previous[number], keep - 1
        self.generations = {number: packages for number, packages in self.generations.items() if number in kept}

    @precondition(lambda self: self.live is not None)
    @rule(fatal=_FATAL, data=st.data())
    def rollback(self, fatal: int, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.generations)))
        status = self._run(fatal, "rollback", str(number))
        assert status in (0, None)
        if status == 0 or self._number() == number:
            changed = number != self.live
            self.live = number
            if changed:
                self._prune(3)

    @rule(keep=st.integers(1, 3))
    def gc(self, keep: int) -> None:
        assert self._run(-1, "gc", "--keep", str(keep)) == 0
        if self.live is not None:
            self._prune(keep)
        self.store &= {package_id for packages in self.generations.values() for package_id in packages}

    @rule(fatal=_FATAL)
    def interrupted_gc(self, fatal: int) -> None:
        """Killed anywhere, a gc leaves nothing half: finishing it gives what an undisturbed one gives."""
        self._run(fatal, "gc")
        self.gc(3)

    @invariant()
    def the_node_is_the_model(self) -> None:
        if not hasattr(self, "machine"):
            return
        machine, root = self.machine, Path(self.machine.layout.root)
        assert machine.active() == self._now()
        assert (
            set(os.listdir(machine.layout.repository) if os.path.isdir(machine.layout.repository) else ()) == self.store
        )
        found = os.listdir(root / "generations") if (root / "generations").is_dir() else []
        assert {int(name) for name in found} == set(self.generations)
        names = {package_id[0]: package_id[-1] for package_id in self._now()}
        assert {name: (root / "bin" / name).read_text() for name in names} == names
        assert machine.units() == {f"{name}.service": UNIT + version for name, version in names.items()}
        assert set(machine.host.running) == {f"{name}.service" for name in names}
        assert not (root / "journal.json").exists()


TestNodeModel = NodeModel.TestCase
TestNodeModel.settings = settings(
    max_examples=400 if _SOAK else 25,
    stateful_step_count=30 if _SOAK else 15,
    deadline=None,
    database=None,
    derandomize=not _SOAK,
    suppress_health_check=list(HealthCheck),
)
