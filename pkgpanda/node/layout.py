"""Where everything of ours lies on a node.

<root>/                         /opt/mesosphere
  .owner                        "dcos-calico": this root is ours
  .lock                         held (flock) by whoever changes the node
  journal.json                  the activation under way; absent when none is
  ledger.json                   users and sysctls this program changed on the host, for their removal
  catalogue.json                digests of the packages of the last verified bundle
  packages/<id>/                the store
  manifests/<id>.json           what a package says of itself, and the names in its well-known directories
  manifests/<id>.files.json     every file of it: mode, size, sha256, link target
  generations/<n>/              one complete set of links each
  current -> generations/<n>    which one is live: the only link that ever changes
  bin -> current/bin ...        stable names, never rewritten
"""

import os
from typing import NamedTuple

WELL_KNOWN = ("bin", "etc", "include", "lib", "dcos.target.wants")
"""The directories of a package that are merged with those of the others; each also with `_<role>` behind it."""

GENERATED = ("active", "active.buildinfo.full.json", "environment", "environment.export")
SERVICE_CONFIGURATION = "dcos-service-configuration.json"
WANTS = "dcos.target.wants"
OWNER = "dcos-calico"


class Layout(NamedTuple):
    """The five places a command line may move."""

    root: str = "/opt/mesosphere"
    repository: str = "/opt/mesosphere/packages"
    config_dir: str = "/etc/mesosphere"
    state_root: str = "/var/lib/dcos"
    systemd_dir: str = "/etc/systemd/system"

    def at(self, *names: str) -> str:
        """A path below the root."""
        return "/".join((self.root, *names))

    def package(self, package_id: str) -> str:
        """The directory of a package in the store."""
        return f"{self.repository}/{package_id}"

    def manifest(self, package_id: str) -> str:
        """What the store keeps about a package."""
        return f"{self.root}/manifests/{package_id}.json"

    def files(self, package_id: str) -> str:
        """The list of a package's files with their digests."""
        return f"{self.root}/manifests/{package_id}.files.json"

    def generation(self, number: int) -> str:
        """The directory of a generation."""
        return f"{self.root}/generations/{number}"

    @property
    def secrets_dir(self) -> str:
        """Where the installer puts the node's keys: beside the configuration directory."""
        return os.path.join(os.path.dirname(self.config_dir), OWNER)

    def roles(self) -> tuple[str, ...]:
        """The roles this node has: the names of the files in `roles/`, sorted."""
        try:
            return tuple(sorted(os.listdir(f"{self.config_dir}/roles")))
        except FileNotFoundError:
            return ()
