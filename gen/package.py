"""The rendered configuration as one package, `dcos-config--<sha256>`.

The id is of the rendered files and `pkginfo.json`, in an encoding in which no two lists of files look alike: paths and
contents carry their length. A configuration that renders the same is the same package, whenever and wherever it was
rendered.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from gen.files import RenderedFile, in_order
from gen.units import unit_table
from pkgpanda.ids import PackageId

NAME = "dcos-config"
_DOMAIN = b"dcos-config files 1\n"


class ConfigPackage(NamedTuple):
    """The package's id and everything in it, `pkginfo.json` and `buildinfo.full.json` included."""

    id: PackageId
    files: tuple[RenderedFile, ...]


def config_package(files: Sequence[RenderedFile]) -> ConfigPackage:
    """The package of what `gen.render.render` gives. The units among the files bring their rows of the unit table."""
    rendered = in_order(files)
    described = in_order([*rendered, _package_info(unit_table({file.path for file in rendered}))])
    version = _digest(described)
    return ConfigPackage(PackageId(NAME, version), in_order([*described, _build_info(version)]))


def _digest(files: Sequence[RenderedFile]) -> str:
    digest = hashlib.sha256(_DOMAIN)
    for path, content, mode in files:
        name = path.encode()
        digest.update(b"%d %o %d\n" % (len(name), mode, len(content)))
        digest.update(name)
        digest.update(content)
    return digest.hexdigest()


def _package_info(units: dict[str, Any]) -> RenderedFile:
    return _document(
        "pkginfo.json",
        {
            "environment": {"MESOS_IP_DISCOVERY_COMMAND": "/opt/mesosphere/bin/detect_ip"},
            "requires": [],
            "state_directory": False,
            "units": units,
        },
    )


def _build_info(version: str) -> RenderedFile:
    build_ids = {"name": NAME, "variant": ""}
    return _document(
        "buildinfo.full.json",
        {"name": NAME, "variant": None, "package_version": version, "sources": {}, "build_ids": build_ids},
    )


def _document(path: str, document: dict[str, Any]) -> RenderedFile:
    return RenderedFile(path, json.dumps(document, sort_keys=True, indent=2).encode() + b"\n")
