"""Which ways from release to release there are."""

import pytest

from pkgpanda.errors import PandaError
from release.upgrade import Package, Side, notes, refusals

ETCD, CALICO = Package("etcd--1", ("master",)), Package("calico--1", ("master", "slave"))
NEWER = Package("calico--2", ("master", "slave"))
OLD = Side("old", "1.2.0", "a" * 64, "b" * 64, "http://h/x", {"etcd": ETCD, "calico": CALICO}, "c")
NEW = OLD._replace(title="new", version="1.3.0", package_list="d" * 64, packages={"etcd": ETCD, "calico": NEWER})


@pytest.mark.parametrize("version", ["1.2.0", "1.2.7", "1.3.0", "1.3.9"])
def test_the_next_minor_version_is_a_way(version: str) -> None:
    assert refusals(OLD, NEW._replace(version=version)) == []


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (NEW._replace(package_list=OLD.package_list), "both have the same packages"),
        (NEW._replace(version="1.1.9"), "goes back"),
        (NEW._replace(version="1.4.0"), "leaves out versions"),
        (NEW._replace(version="2.0.0"), "leaves out versions"),
        (NEW._replace(packages={"calico": NEWER}), "takes the package etcd away"),
    ],
)
def test_unsupported_jumps_are_refused(new: Side, told: str) -> None:
    assert told in "; ".join(map(str, refusals(OLD, new)))


def test_every_reason_is_told() -> None:
    assert len(refusals(OLD, NEW._replace(version="3.0.0", packages={}))) == 2


def test_a_version_of_another_form_is_no_version() -> None:
    with pytest.raises(PandaError, match="is no version"):
        refusals(OLD, NEW._replace(version="1.3"))


def test_notes_say_what_changes() -> None:
    new = NEW._replace(packages={**NEW.packages, "bird": Package("bird--1", ("slave",))}, configuration="x")
    assert notes(OLD, new)[:2] == ["changed: calico", "new: bird"]
    assert "gen diff" in notes(OLD, new)[-1]
