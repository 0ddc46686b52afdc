"""Two commands at once: whatever of one happens between which two steps of another, no channel names half a release."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pkgpanda.errors import PandaError
from release import layout, prune, repository
from release.commands.promote import plan as plan_promotion
from release.layout import Entry
from release.storage.base import Stored
from release.storage.local import LocalStorage
from release.storage.settings import Storages
from tests.unit.release.test_repository import publish, release, script, whole

DAY = 86400.0

Command = Callable[[LocalStorage], object]


@pytest.fixture(autouse=True)
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of storages are written here, and none of them has to last."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


class Meanwhile(LocalStorage):
    """A folder in which something happens before the n-th operation, counted from 1."""

    def __init__(self, root: Path, number: int, happens: Callable[[], object]) -> None:
        super().__init__("s", root)
        self.left = number
        self._happens = happens

    def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            self._happens()

    def read(self, path: str, limit: int = 64 << 20) -> bytes | None:
        self._step()
        return super().read(path, limit)

    def holds(self, entry: Entry) -> bool | None:
        self._step()
        return super().holds(entry)

    def put(self, entry: Entry) -> None:
        self._step()
        super().put(entry)

    def listing(self, prefix: str) -> Iterator[Stored]:
        self._step()
        yield from super().listing(prefix)

    def remove(self, path: str) -> None:
        self._step()
        super().remove(path)


def promote(storage: LocalStorage) -> None:
    """Release 1, which no channel names, becomes stable."""
    _, steps = plan_promotion(Storages({"s": storage}, storage), release(1).name, "stable")
    repository.apply(steps, lambda _line: None)


def create(storage: LocalStorage) -> None:
    """Release 1 again, into a channel."""
    publish(storage, 1, "stable")


def forget(storage: LocalStorage) -> None:
    """All that no channel names, as it will be in two days."""
    newest = max(each.modified for each in LocalStorage("s", storage.root).listing(""))
    prune.run(storage, newest + 2 * DAY, 0.0)


def attempt(command: Command, storage: LocalStorage) -> None:
    """A command may be refused; what it leaves must be right all the same."""
    try:
        command(storage)
    except PandaError as error:
        assert error.problems


@pytest.fixture(params=["whole", "its package is left", "its end is missing"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Releases 1 and 2; 2 is testing, 1 no channel's, of which more or less is there."""
    storage = LocalStorage("s", tmp_path / "first")
    publish(storage, 1)
    publish(storage, 2)
    if request.param != "whole":
        storage.remove(repository.document_path(release(1).name, layout.METADATA))
    if request.param == "its package is left":
        shutil.rmtree(storage.root / "releases" / release(1).name)
    return storage.root


@pytest.mark.parametrize(
    ("first", "second"), [(promote, forget), (forget, promote), (create, forget), (forget, create)]
)
def test_one_command_between_any_two_steps_of_another(
    root: Path, tmp_path: Path, first: Command, second: Command
) -> None:
    moved = 0
    for number in range(1, 1000):
        directory = shutil.copytree(root, tmp_path / str(number))
        other = LocalStorage("s", directory)
        storage = Meanwhile(directory, number, lambda other=other: attempt(second, other))  # type: ignore[misc]
        attempt(first, storage)
        named = repository.channels(other)
        assert named["testing"] == release(2).name and whole(other, 2), number
        if "stable" in named:
            moved += 1
            assert whole(other, 1), number
        attempt(forget, other)
        attempt(create, other)
        assert repository.channels(other)["stable"] == release(1).name and whole(other, 1), "nothing stays in the way"
        shutil.rmtree(directory)
        if storage.left > 0:
            break
    assert number > 1
    assert moved or (first, second) in [(promote, forget), (forget, promote)]


def test_a_channel_that_cannot_stay_is_what_it_was(tmp_path: Path) -> None:
    storage = LocalStorage("s", tmp_path / "s")
    publish(storage, 1)
    publish(storage, 2)
    publish(storage, 2, "stable")
    _, steps = plan_promotion(Storages({"s": storage}, storage), release(1).name, "stable")
    before = storage.read(repository.channel_path("stable"))
    refused = 0
    for number in range(1, 50):
        watched = Meanwhile(storage.root, number, lambda: storage.put(prune.MARK))
        try:
            repository.apply([step._replace(storage=watched) for step in steps], lambda _line: None)
        except PandaError as error:
            assert "release prune is at work" in str(error)
            assert storage.read(repository.channel_path("stable")) == before
            refused += 1
        else:
            break
        storage.remove(prune.MARK.path)
    assert refused > 5, "before the write and behind it"


def test_of_two_promotions_one_is_told_that_it_lost(tmp_path: Path) -> None:
    """Two storages, each moved by another promotion last."""
    one, two = (LocalStorage(name, tmp_path / name) for name in "ab")
    for storage in (one, two):
        publish(storage, 1)
        publish(storage, 2)
    known = Storages({"a": one, "b": two}, one)
    _, steps = plan_promotion(known, release(1).name, "stable")

    def other() -> None:
        one.put(layout.entry(repository.channel_path("stable"), script(2)))

    for number in range(1, 50):
        late = Meanwhile(two.root, number, other)
        places = {"a": one, "b": late}
        try:
            repository.apply([step._replace(storage=places[step.storage.name]) for step in steps], lambda _line: None)
        except PandaError as error:
            assert "was moved by another command" in str(error)
        else:
            assert repository.channels(one) == repository.channels(two)
        if late.left > 0:
            break
        one.remove(repository.channel_path("stable"))
        two.remove(repository.channel_path("stable"))
