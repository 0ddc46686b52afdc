"""`uninstall`: the host as it was before us; with `purge` without our state and secrets too."""

import os

from pkgpanda.node import activate, generation, ledger, store, systemd
from pkgpanda.node.layout import Layout
from pkgpanda.node.node import Node


def uninstall(node: Node, purge: bool) -> tuple[str, ...]:
    """Stop and remove everything of ours. May be run again after it was interrupted.

    The packages' own `remove/` programs run after their units stopped. The mark that the root is ours goes last.
    """
    node = node._replace(options=node.options._replace(gate=False))
    host, layout = node.host, node.layout
    outcome = activate.apply_prepared(node, activate.prepare(node, [], "uninstall"))
    states = _state_directories(layout)
    if node.options.systemd:
        systemd.stop(host, [systemd.TARGET])
    systemd.uninstall(host, layout)
    if node.options.systemd:
        systemd.reload_manager(host)
    known = ledger.read(layout)
    for key in sorted(known.sysctls):
        activate.restore_sysctl(host, layout, key)
    for user in known.users:
        activate.remove_user(host, user)
    if purge:
        for path in states:
            host.remove_tree(path)
        host.remove_tree(layout.secrets_dir)
    _remove_configuration(node)
    _remove_if_empty(node, layout.state_root)
    _remove_root(node)
    return outcome.notes


def removals(node: Node, purge: bool) -> list[str]:
    """What `uninstall` takes away beside the units, in sentences: for `--dry-run`."""
    layout, known = node.layout, ledger.read(node.layout)
    paths = [layout.root, f"{layout.config_dir}/roles", f"{layout.config_dir}/setup-flags"]
    if purge:
        paths += [*_state_directories(layout), layout.secrets_dir]
    return [
        *(f"restore the kernel setting {key}" for key in sorted(known.sysctls)),
        *(f"remove the user {user}" for user in known.users),
        *(f"remove {path}" for path in paths),
    ]


def _state_directories(layout: Layout) -> list[str]:
    """State directories of ours: those made by this installation, and those its packages use."""
    paths = set(ledger.read(layout).directories)
    for package in store.loadable(layout, store.list_ids(layout)):
        if package.state_directory:
            paths.add(f"{layout.state_root}/{package.name}")
    return sorted(paths)


def _remove_configuration(node: Node) -> None:
    host, layout = node.host, node.layout
    host.remove_tree(f"{layout.config_dir}/roles")
    for name in ("repository-url", "cluster-package-list", "release-keys"):
        host.remove_tree(f"{layout.config_dir}/setup-flags/{name}")
    _remove_if_empty(node, f"{layout.config_dir}/setup-flags")
    _remove_if_empty(node, layout.config_dir)


def _remove_if_empty(node: Node, path: str) -> None:
    if os.path.isdir(path) and not os.listdir(path):
        node.host.rmdir(path)


def _remove_root(node: Node) -> None:
    host, layout = node.host, node.layout
    generation.unlink_names(host, layout)
    for name in sorted(os.listdir(layout.root)):
        if name not in (".owner", ".lock"):
            host.remove_tree(layout.at(name))
    host.remove_tree(layout.repository)
    for name in (".owner", ".lock"):
        host.remove_tree(layout.at(name))
    _remove_if_empty(node, layout.root)
