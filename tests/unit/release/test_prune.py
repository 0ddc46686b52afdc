"""What a repository may forget, and what never."""

from pathlib import Path

import pytest

from pkgpanda.errors import PandaError
from release import prune, repository
from release.calicoctl import read_line
from release.layout import entry
from release.prune import Repository
from release.source import Commit
from release.storage.local import LocalStorage
from tests.unit.release.test_repository import publish, release, whole

DAY = 86400.0


def aged(state: Repository, days: float) -> Repository:
    """The same, as it will be looked at in `days` days."""
    return state._replace(now=state.now + days * DAY)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    """Releases 1 to 3; 1 is stable, 3 is testing."""
    storage = LocalStorage("s", tmp_path / "s")
    publish(storage, 1, "stable")
    for number in (2, 3):
        publish(storage, number, "testing")
    return storage


def now(storage: LocalStorage) -> Repository:
    newest = max(each.modified for each in storage.listing(""))
    return prune.look(storage, newest)


def test_young_releases_stay(storage: LocalStorage) -> None:
    assert prune.plan(aged(now(storage), 29), 30) == []


def test_an_old_release_of_no_channel_goes_with_what_only_it_had(storage: LocalStorage) -> None:
    removals = prune.plan(aged(now(storage), 31), 30)
    paths = [each.path for each in removals]
    assert paths[0] == repository.document_path(release(2).name, "metadata.json"), "first it is no release any more"
    assert {"packages/b/b--2.tar.xz"} == {path for path in paths if path.startswith("packages/")}
    for each in removals:
        storage.remove(each.path)
    assert whole(storage, 1) and whole(storage, 3)
    assert list(repository.releases(storage)) == sorted([release(1).name, release(3).name])
    assert prune.plan(aged(now(storage), 31), 30) == []


def test_interrupted_at_every_removal_no_release_that_is_listed_lacks_anything(storage: LocalStorage) -> None:
    removals = prune.plan(aged(now(storage), 31), 30)
    for each in removals:
        storage.remove(each.path)
        assert release(2).name not in repository.releases(storage)
        assert whole(storage, 1) and whole(storage, 3)
        left = [one.path for one in prune.plan(aged(now(storage), 31), 30)]
        assert left == [one.path for one in removals[removals.index(each) + 1 :]]


def test_a_channels_release_that_lost_its_metadata_stops_it(storage: LocalStorage) -> None:
    """What the release needs is not known then."""
    storage.remove(repository.document_path(release(1).name, "metadata.json"))
    with pytest.raises(PandaError, match=f"channels/stable.*release {release(1).name[:12]}"):
        now(storage)


def test_what_is_being_written_stays(storage: LocalStorage) -> None:
    storage.put(entry("packages/c/c--4.tar.xz", b"of a release to come"))
    assert prune.plan(aged(now(storage), 0.9), 0.5) != []
    assert "packages/c/c--4.tar.xz" not in [each.path for each in prune.plan(aged(now(storage), 0.9), 0.5)]
    assert "packages/c/c--4.tar.xz" in [each.path for each in prune.plan(aged(now(storage), 1.1), 30)]


def test_a_branchs_builds_go_after_seven_days_and_a_tags_never(storage: LocalStorage) -> None:
    commit = Commit("c" * 40, False)
    branch = read_line("release-v3.14-d2iq.1", "").path(commit, "d" * 64, "linux-amd64")
    tag = read_line("", "v3.14-d2iq.1").path(commit, "d" * 64, "linux-amd64")
    for path in (branch, tag):
        storage.put(entry(path, b"x"))
    assert prune.plan(aged(now(storage), 6.9), 9999) == []
    assert [each.path for each in prune.plan(aged(now(storage), 7.1), 9999)] == [branch]
    assert tag not in [each.path for each in prune.plan(aged(now(storage), 9000), 1)]
