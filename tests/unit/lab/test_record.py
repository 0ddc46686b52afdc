"""A lab's record is what a clean-up can rely on, whatever killed the lab."""

import os
from pathlib import Path

import pytest

from lab import image
from lab.cleanup import destroy, sweep
from lab.instance import Entry, Instance, LabError, Process
from lab.network import _port


def test_a_lab_is_owned_by_the_process_that_made_it(tmp_path: Path) -> None:
    owner = Instance.create(tmp_path).owner()
    assert owner is not None
    assert owner.pid == os.getpid()
    assert owner.is_alive()


def test_a_pid_that_was_given_to_another_process_is_not_alive() -> None:
    me = Process.of(os.getpid())
    assert not Process(me.pid, me.start - 1).is_alive()


def test_a_process_that_never_was_is_not_alive() -> None:
    assert not Process(2**22 + 1, 1).is_alive()
    with pytest.raises(LabError, match="has ended"):
        Process.of(2**22 + 1)


def test_the_record_keeps_its_order_and_survives_a_cut_line(tmp_path: Path) -> None:
    instance = Instance.create(tmp_path)
    instance.record("netns", "a b")
    with (instance.directory / "record").open("a") as file:
        file.write('["mount", "/half')
    assert instance.entries()[1:] == [Entry("netns", "a b")]


def test_what_is_recorded_after_a_cut_line_is_not_lost(tmp_path: Path) -> None:
    instance = Instance.create(tmp_path)
    for cut in ('["mount", "/half\n', "[1]\n", "{}\n", "7\n"):
        with (instance.directory / "record").open("a") as file:
            file.write(cut)
    instance.record("netns", "n")
    assert instance.entries()[-1] == Entry("netns", "n")


def test_a_sweep_leaves_a_lab_that_is_in_use(tmp_path: Path) -> None:
    instance = Instance.create(tmp_path)
    assert sweep(tmp_path) == []
    assert instance.directory.is_dir()


def test_a_sweep_removes_a_lab_whose_owner_is_gone(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "dcl-dead00")
    instance.directory.mkdir()
    instance.record("process", str(os.getpid()), Process.of(os.getpid()).start - 1)
    assert sweep(tmp_path) == ["dcl-dead00"]
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_removes_a_lab_that_died_before_it_wrote_a_line(tmp_path: Path) -> None:
    (tmp_path / "dcl-empty0").mkdir()
    assert sweep(tmp_path) == ["dcl-empty0"]


def test_removing_twice_is_removing_once(tmp_path: Path) -> None:
    instance = Instance.create(tmp_path)
    outside = tmp_path / "left-by-nspawn"
    outside.touch()
    for name in (outside, tmp_path / "never-made"):
        instance.record("path", str(name))
    (instance.directory / "disk").mkdir()
    destroy(instance)
    assert list(tmp_path.iterdir()) == []


def test_a_bridge_port_has_a_name_the_kernel_takes() -> None:
    assert _port("master") == "p-master"
    with pytest.raises(LabError, match="at most 13"):
        _port("a-very-long-name")


def test_another_recipe_is_another_image() -> None:
    assert image.NODE.digest() == image.Recipe().digest()
    assert image.NODE._replace(packages=("bash",)).digest() != image.NODE.digest()


@pytest.mark.parametrize(
    ("release", "component", "wanted"),
    [
        ("bookworm", "main", True),
        ("bookworm-updates", "main", True),
        ("bookworm-security", "main", True),
        ("bookworm-backports", "main", False),
        ("bookworm", "contrib", False),
        ("trixie", "main", False),
        ("nodistro", "main", False),
    ],
)
def test_only_debians_own_suites_make_an_image(release: str, component: str, wanted: bool) -> None:
    assert image._is_wanted("bookworm", release, component) is wanted


def test_a_record_without_its_first_lines_is_still_followed(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "dcl-half00")
    instance.directory.mkdir()
    outside = tmp_path / "outside"
    outside.touch()
    instance.record("path", str(outside))
    destroy(instance)
    assert list(tmp_path.iterdir()) == []


def test_a_named_lab_lasts_and_is_not_swept(tmp_path: Path) -> None:
    instance = Instance.create(tmp_path, "mine")
    assert (instance.title, instance.lasts, instance.owner()) == ("mine", True, None)
    assert sweep(tmp_path) == []
    with pytest.raises(LabError, match="already"):
        Instance.create(tmp_path, "mine")


def test_a_named_lab_of_a_process_goes_with_it(tmp_path: Path) -> None:
    instance = Instance.create(tmp_path, "mine", os.getpid())
    assert not instance.lasts
    owner = instance.owner()
    assert owner is not None
    assert owner.pid == os.getpid()
