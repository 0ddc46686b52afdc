"""The documents of dist/: what they say, that they say the same twice, and that the bill of materials is CycloneDX."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given
from hypothesis import strategies as st

from pkgpanda.ids import PackageId
from release import VERSION, layout
from release.documents import bundle_entries
from release.licences import cyclonedx_licences
from release.parts import Bootstrap, Part, Source
from release.sbom import reference, render_sbom

ROOT = Path(__file__).resolve().parents[3]

DEB = Source("deb", "libgmp10", "2:6.2.1+dfsg1-1.1", "1" * 64, False, True, ({"license": {"id": "LGPL-3.0-or-later"}},))
TOOL = Source("deb", "patchelf", "0.14.3-1", "2" * 64, False, False, ({"license": {"id": "GPL-3.0-or-later"}},))
WHEEL = Source("pypi", "PyYAML", "6.0.3", "3" * 64, True, True, ({"license": {"id": "MIT"}},))
OURS = Source("local", "recipe", "", "4" * 64, False, True)


def part(name: str, *sources: Source, requires: tuple[PackageId, ...] = ()) -> Part:
    package = PackageId(name, "0" * 64)
    return Part(package, ("master",), Path("/nowhere"), "a" * 64, 7, "b" * 64, requires, sources)


def entries(parts: list[Part]) -> dict[str, bytes | None]:
    ids = tuple(each.id for each in parts[:1])
    bootstrap = Bootstrap(layout.encode_ids(list(ids))[0], ids, Path("/nowhere"), "c" * 64, 9)
    return {each.path: each.content for each in bundle_entries(parts, bootstrap, lambda pins: repr(pins).encode(), {})}


def components(parts: list[Part]) -> dict[str, Any]:
    return {each["bom-ref"]: each for each in json.loads(render_sbom(parts))["components"]}


def test_the_bill_of_materials_is_cyclonedx() -> None:
    text = render_sbom([part("etcd", DEB, TOOL, WHEEL, OURS), part("bird", DEB)]).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_a_source_in_two_packages_is_one_component() -> None:
    found = components([part("etcd", DEB), part("bird", DEB)])
    assert [key for key in found if key.startswith("pkg:deb")] == [reference(DEB)]


def test_components_have_version_digest_licence_and_package_url() -> None:
    each = components([part("etcd", DEB)])[reference(DEB)]
    assert each["purl"] == "pkg:deb/debian/libgmp10@2%3A6.2.1%2Bdfsg1-1.1?arch=amd64&distro=debian-12"
    assert (each["version"], each["scope"]) == ("2:6.2.1+dfsg1-1.1", "required")
    assert each["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    assert each["licenses"] == [{"license": {"id": "LGPL-3.0-or-later"}}]
    assert reference(WHEEL) == "pkg:pypi/pyyaml@6.0.3"


def test_what_only_helped_to_build_is_excluded_unless_another_package_ships_it() -> None:
    assert components([part("etcd", TOOL)])[reference(TOOL)]["scope"] == "excluded"
    both = components([part("etcd", TOOL), part("bird", TOOL._replace(shipped=True)), part("zebra", TOOL)])
    assert both[reference(TOOL)]["scope"] == "required"


def test_our_own_files_are_no_component() -> None:
    assert list(components([part("etcd", OURS)])) == [f"etcd--{'0' * 64}"]


def test_the_serial_number_follows_the_content() -> None:
    one, same, other = (json.loads(render_sbom([each]))["serialNumber"] for each in (part("a"), part("a"), part("b")))
    assert one == same != other


def test_the_order_of_parts_makes_no_difference() -> None:
    one, two = part("etcd", DEB, WHEEL), part("bird", DEB)
    assert render_sbom([one, two]) == render_sbom([two, one])


def test_the_manifest_names_every_other_file_and_what_is_unlocked() -> None:
    found = entries([part("etcd", DEB, WHEEL)])
    manifest = json.loads(found[layout.MANIFEST] or b"")
    assert manifest["artifacts"].keys() == found.keys() - {layout.MANIFEST, layout.SUMS}
    assert [(each["package"], each["name"], each["version"]) for each in manifest["unlocked"]] == [
        ("etcd", "PyYAML", "6.0.3")
    ]
    assert manifest["packages"]["etcd"]["roles"] == ["master"]
    assert manifest["version"] == VERSION


def test_no_document_names_a_directory_of_the_machine() -> None:
    assert all(b"/nowhere" not in (content or b"") for content in entries([part("etcd", DEB)]).values())


def test_sums_cover_all_and_the_script_carries_the_digests() -> None:
    found = entries([part("etcd", DEB), part("bird")])
    listed = {line.split("  ")[1] for line in (found[layout.SUMS] or b"").decode().splitlines()}
    assert listed == found.keys() - {layout.SUMS}
    script = found[layout.INSTALL_SCRIPT] or b""
    for digest in ("c" * 64, hashlib.sha256(found[layout.PACKAGE_INFO] or b"").hexdigest()):
        assert digest.encode() in script


def test_lists_are_named_by_their_bytes() -> None:
    found = entries([part("etcd"), part("bird")])
    name = (found[layout.PACKAGE_LIST_LATEST] or b"").decode().strip()
    content = found[layout.package_list_path(name)] or b""
    assert hashlib.sha256(content).hexdigest() == name
    assert json.loads(content) == [f"bird--{'0' * 64}", f"etcd--{'0' * 64}"]


@given(st.lists(st.from_regex(r"\A[a-z]{1,5}\Z"), unique=True))
def test_a_list_of_ids_has_one_name_whatever_the_order(names: list[str]) -> None:
    ids = [PackageId(name, "1") for name in names]
    make: Callable[[list[PackageId]], tuple[str, bytes]] = layout.encode_ids
    assert make(ids) == make(ids[::-1])


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("zlib1g", "Zlib", [{"license": {"id": "Zlib"}}]),
        (
            "libgmp10",
            "GPL-2+ or LGPL-3+",
            [{"license": {"id": "GPL-2.0-or-later"}}, {"license": {"id": "LGPL-3.0-or-later"}}],
        ),
        (
            "libmd0",
            "Beerware, public-domain-md4",
            [{"license": {"id": "Beerware"}}, {"license": {"name": "public-domain-md4"}}],
        ),
        ("pyyaml", "MIT", [{"license": {"id": "MIT"}}]),
        ("libkrb5-3", "", [{"license": {"id": "MIT"}}]),
        ("libgcc-s1", "", [{"expression": "GPL-3.0-or-later WITH GCC-exception-3.1"}]),
        ("unread", "", [{"license": {"name": "see usr/share/doc/unread/copyright"}}]),
    ],
)
def test_licences_are_spelt_as_spdx_where_it_has_them(name: str, words: str, expected: list[Any]) -> None:
    assert list(cyclonedx_licences(name, words)) == expected


def test_the_version_is_the_projects() -> None:
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text()
