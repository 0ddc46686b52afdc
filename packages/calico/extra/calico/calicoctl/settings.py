"""Where the datastore is: `calicoctl.cfg`, or the environment where there is no such file, or what the bundle rendered.

Upstream's rule is kept: when the file exists the environment is not looked at.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from calico.datastore.settings import MEMBERS, Settings, SettingsError, from_environment, from_members

DEFAULT_PATH = "/etc/calico/calicoctl.cfg"
NODE_PATH = "/opt/mesosphere/etc/calico/calicoctl.cfg"
"""The bundle's own file on a node, for where nobody says anything else."""

_NAMES_A_DATASTORE = re.compile(r"(CALICO_)?ETCD_(ENDPOINTS|DISCOVERY_SRV)")


def load(path: str, environment: Mapping[str, str]) -> Settings:
    """The settings of the file at `path`; where that is the default and absent, of `environment` or the bundle's file.

    Raises SettingsError for a file that is missing (other than the default), unreadable or wrong, and for settings that
    contradict each other.
    """
    if os.path.exists(path):
        return from_members(_from_file(path))
    if path != DEFAULT_PATH:
        raise SettingsError(f"Error reading config file: {path}", on_stdout=True)
    if not any(map(_NAMES_A_DATASTORE.fullmatch, environment)) and os.path.exists(NODE_PATH):
        return from_members(_from_file(NODE_PATH))
    return from_environment(environment)


def _from_file(path: str) -> dict[str, Any]:
    from calico.calicoctl.documents import DocumentError, read

    try:
        documents = read([path], None)
    except DocumentError as error:
        raise SettingsError(str(error)) from None
    if len(documents) != 1:
        raise SettingsError(f"{path}: holds {len(documents)} documents; it must be one CalicoAPIConfig")
    (document,) = documents
    for member, expected in (("apiVersion", "projectcalico.org/v3"), ("kind", "CalicoAPIConfig")):
        found = repr(document.data[member]) if member in document.data else "missing"
        if document.data.get(member) != expected:
            raise SettingsError(f"{document.where}: {member} is {found}; it must be {expected}")
    spec = document.data.get("spec") or {}
    unknown = [name for name in spec if name not in MEMBERS] if isinstance(spec, Mapping) else ["spec"]
    if unknown:
        line = document.lines.get(("spec", unknown[0]), document.line)
        raise SettingsError(f"{path}:{line}: unknown member {unknown[0]}; there are: {', '.join(MEMBERS)}")
    return dict(spec)
