"""`release upgrade-script`: from one release to another on a cluster's nodes, where that is a way we answer for.

The script is one program, gen/templates/dcos_node_upgrade.sh.jinja, with the two releases in it. It follows upstream's
`dcos_node_upgrade.sh` (a check of the installed version, of health before and after), on a store that goes back by
itself.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from gen.render_templates import render_template
from pkgpanda.errors import PandaError, Problem
from release import layout, repository
from release.assemble import file_digest
from release.metadata import read_metadata
from release.storage.base import Storage

_STATEFUL = ("etcd",)
"""Packages whose data a cluster lives on."""


class Package(NamedTuple):
    """A package of a release, and the roles whose nodes have it."""

    id: str
    roles: tuple[str, ...]


class Side(NamedTuple):
    """A release as an upgrade sees it; `packages` are by name."""

    title: str
    version: str
    package_list: str
    script_sha256: str
    script_url: str
    packages: dict[str, Package]
    configuration: str


def side_of_directory(directory: Path) -> Side:
    """The bundle in a directory."""
    if not (directory / layout.MANIFEST).is_file():
        raise PandaError.one(str(directory), "holds no bundle", "name what release bundle wrote")
    manifest = _json(directory / layout.MANIFEST)
    listed = (directory / layout.PACKAGE_LIST_LATEST).read_text().strip()
    title, url = f"dcos-calico {manifest.get('version')} (list {listed[:12]})", ""
    if (directory / layout.METADATA).is_file():
        said = read_metadata((directory / layout.METADATA).read_bytes(), str(directory / layout.METADATA))
        title, url = f"dcos-calico {said.tag or said.version} (commit {said.commit[:12]})", said.url
    return _side(manifest, title, listed, file_digest(directory / layout.INSTALL_SCRIPT), url)


def side_of_release(storage: Storage, release: str) -> Side:
    """A release where it is kept."""
    said = repository.metadata(storage, release)
    documents = {}
    for name in (layout.MANIFEST, layout.PACKAGE_LIST_LATEST):
        content = storage.read(repository.document_path(release, name))
        if content is None:
            raise PandaError.one(f"{storage.name}: {release}", f"has no {name}", "release verify says more")
        documents[name] = content
    title = f"dcos-calico {said.tag or said.version} (commit {said.commit[:12]})"
    manifest = json.loads(documents[layout.MANIFEST])
    listed = documents[layout.PACKAGE_LIST_LATEST].decode().strip()
    url = f"{said.url}/{repository.document_path(release, layout.INSTALL_SCRIPT)}"
    return _side(manifest, title, listed, release, url)


def _side(manifest: dict[str, Any], title: str, listed: str, script: str, url: str) -> Side:
    packages = {name: Package(about["id"], tuple(about["roles"])) for name, about in manifest["packages"].items()}
    return Side(
        title, str(manifest["version"]), listed, script, url, packages, str(manifest["inputs"].get("configuration"))
    )


def refusals(old: Side, new: Side) -> list[Problem]:
    """Why there is no way from `old` to `new`; empty where there is one."""
    where = f"{old.title} to {new.title}"
    if old.package_list == new.package_list:
        return [Problem(where, "is no upgrade: both have the same packages", "")]
    found = []
    before, after = _version(old.version), _version(new.version)
    if after < before:
        hint = "a node goes back with pkgpanda rollback"
        found.append(Problem(where, f"goes back from version {old.version} to {new.version}", hint))
    elif after[0] != before[0] or after[1] - before[1] > 1:
        hint = "upgrade by one minor version at a time"
        found.append(Problem(where, f"leaves out versions between {old.version} and {new.version}", hint))
    found += [
        Problem(where, f"takes the package {name} away, and the cluster's data with it", "take a backup and reinstall")
        for name in _STATEFUL
        if name in old.packages and name not in new.packages
    ]
    return found


def _version(text: str) -> tuple[int, int, int]:
    try:
        major, minor, patch = (int(part) for part in text.split("."))
    except ValueError as error:
        raise PandaError.one(text, "is no version of the form X.Y.Z", "the manifest is not ours") from error
    return major, minor, patch


def notes(old: Side, new: Side) -> list[str]:
    """What whoever runs the script should know."""
    changed = sorted(name for name, package in new.packages.items() if old.packages.get(name) not in (None, package))
    added, gone = sorted(new.packages.keys() - old.packages.keys()), sorted(old.packages.keys() - new.packages.keys())
    told = [
        f"{word}: {', '.join(names)}" for word, names in (("changed", changed), ("new", added), ("gone", gone)) if names
    ]
    if old.configuration != new.configuration:
        told.append("the configurations differ: gen diff OLD NEW says what the running cluster feels")
    return told


def render_script(old: Side, new: Side, url: str) -> bytes:
    """The script; `url` is where nodes fetch the new release's dcos_install.sh."""
    return render_template("dcos_node_upgrade.sh.jinja", old=old._asdict(), new=new._asdict(), script_url=url)


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise PandaError.one(str(path), "is not JSON") from error
    return dict(document)
