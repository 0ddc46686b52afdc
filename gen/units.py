"""The one table of units: what each starts, where it runs, and what a change of something it uses asks of it.

`gen.render` renders the units whose daemon is in the tree, `gen.package` writes their rows into `dcos-config`, where
the node's planner reads them, and `gen diff` compares the rows of two configurations.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pkgpanda.ids import ROLES

Effect = Literal["restart", "reload", "nothing"]

AGENTS = ("slave", "slave_public")

_NODE_ENV = "etc/calico/calico-node.env"
_DATASTORE_ENV = "etc/calico/calico-node-datastore.env"
_LIBNETWORK_ENV = "etc/calico/libnetwork.env"
_DETECT_IP = "bin/detect_ip"


class Unit(NamedTuple):
    """One row. `daemon` is a member of what `daemons_in` finds; `packages` by name and `files` by their path in
    `dcos-config` say what a change of each asks of the running unit."""

    name: str
    daemon: str
    roles: tuple[str, ...]
    packages: Mapping[str, Effect]
    files: Mapping[str, Effect]
    needs_bgp: bool = False

    @property
    def template(self) -> str:
        """The unit's template below gen/templates/."""
        return f"units/{self.name}"

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories of the package in which the unit file stands."""
        if self.roles == ROLES:
            return ("dcos.target.wants",)
        return tuple(f"dcos.target.wants_{role}" for role in self.roles)

    def row(self, paths: Collection[str]) -> dict[str, Any]:
        """The row as `pkginfo.json` has it, with the files that `paths` holds."""
        files = {path: effect for path, effect in self.files.items() if path in paths}
        return {"roles": list(self.roles), "packages": dict(self.packages), "files": files}


UNITS = (
    Unit(
        "dcos-calico-guard.service",
        "calico-guard",
        ROLES,
        # Once felix has replaced the guard's table, starting it again does nothing.
        {"calico": "nothing"},
        {},
    ),
    Unit(
        "dcos-etcd.service",
        "etcd",
        ("master",),
        {"etcd": "restart"},
        # The address a node is known by does not change while it is a member, whatever prints it.
        {"etc_master/etcd/etcd.env": "restart", _DETECT_IP: "nothing"},
    ),
    Unit(
        "dcos-calico-node.service",
        "calico-node",
        ROLES,
        {"calico": "restart"},
        {
            _NODE_ENV: "restart",
            _DATASTORE_ENV: "restart",
            _DETECT_IP: "nothing",
        },
    ),
    Unit(
        "dcos-calico-felix.service",
        "calico-felix",
        ROLES,
        {"calico": "restart", "conntrack": "nothing", "nftables": "nothing"},
        {_NODE_ENV: "restart", _DATASTORE_ENV: "restart", "etc/calico/felix.cfg": "restart", _DETECT_IP: "nothing"},
    ),
    Unit(
        "dcos-calico-confd.service",
        "calico-confd",
        ROLES,
        {"calico": "restart", "bird": "nothing"},
        {_NODE_ENV: "restart", _DATASTORE_ENV: "restart", _DETECT_IP: "nothing"},
        needs_bgp=True,
    ),
    Unit(
        "dcos-calico-bird.service",
        "calico-bird",
        ROLES,
        {"bird": "restart"},
        # The configuration it starts with when confd has not written one yet.
        {"etc/calico/bird.cfg": "nothing"},
        needs_bgp=True,
    ),
    Unit(
        "dcos-calico-libnetwork-plugin.service",
        "calico-libnetwork-plugin",
        AGENTS,
        {"calico": "restart"},
        {_LIBNETWORK_ENV: "restart", _DATASTORE_ENV: "restart", _DETECT_IP: "nothing"},
    ),
)

_LAUNCHERS = {
    "etcd": ("etcd/extra/etcd.sh",),
    **{
        name: (f"calico/extra/bin/{name}",)
        for name in ("calico-guard", "calico-node", "calico-felix", "calico-confd", "calico-libnetwork-plugin")
    },
    # BIRD has nothing to say without the confd that configures it.
    "calico-bird": ("bird/buildinfo.json", "calico/extra/bin/calico-confd"),
}

DAEMONS = frozenset(_LAUNCHERS)
"""Every daemon a unit can start."""


def daemons_in(packages_dir: Path) -> frozenset[str]:
    """The daemons the tree at `packages_dir` holds: those whose launcher is there."""
    return frozenset(
        daemon for daemon, paths in _LAUNCHERS.items() if all((packages_dir / path).is_file() for path in paths)
    )


def units_for(values: Mapping[str, Any], daemons: frozenset[str]) -> tuple[Unit, ...]:
    """The units that a configuration asks for and the tree can start."""
    if not values["calico_enabled"]:
        return ()
    has_bgp = not values["calico_vxlan_enabled"]
    return tuple(unit for unit in UNITS if unit.daemon in daemons and (has_bgp or not unit.needs_bgp))


def unit_table(paths: Collection[str]) -> dict[str, dict[str, Any]]:
    """The rows of the units whose files are among `paths`."""
    return {
        unit.name: unit.row(paths)
        for unit in sorted(UNITS)
        if any(f"{directory}/{unit.name}" in paths for directory in unit.directories)
    }
