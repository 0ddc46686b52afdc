"""`setup`: from a repository's URL and the digest of its package list to a running node, as often as one likes.

Each step does nothing where its work is done already, so an interrupted setup is simply run again, and a second run
with the same bundle changes nothing.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pkgpanda.errors import PandaError
from pkgpanda.node import activate, catalogue, generation, lock, store
from pkgpanda.node.activate import Outcome
from pkgpanda.node.catalogue import Catalogue, Item
from pkgpanda.node.generation import Generation
from pkgpanda.node.node import Node
from pkgpanda.node.plan import Plan

_UPSTREAMS = ("active", "active.buildinfo.full.json", "bin", "bootstrap", "environment", "etc", "lib", "packages")
_UNPACKED = 6
_MIB = 1 << 20


class Source(NamedTuple):
    """Where the bundle is, the sha256 of its cluster-package-info.json, and that file's name below the address."""

    url: str
    sha256: str
    info: str = "cluster-package-info.json"


def refuse_foreign(node: Node) -> None:
    """Raise PandaError when the root belongs to another installation."""
    layout = node.layout
    found = [name for name in _UPSTREAMS if os.path.lexists(layout.at(name))]
    if found and not os.path.exists(layout.at(".owner")):
        raise PandaError.one(
            layout.root, f"is somebody else's: it has {', '.join(found)}", "this bundle does not go on top of another"
        )


@contextlib.contextmanager
def changing(node: Node) -> Iterator[None]:
    """Hold the node's lock for a change; refuse it on somebody else's root and on top of an interrupted activation."""
    refuse_foreign(node)
    with lock.locked(node.layout):
        activate.refuse_interrupted(node.layout)
        activate.own(node.host, node.layout)
        yield


def fetch_catalogue(node: Node, source: Source) -> Catalogue:
    """The bundle's package list, verified."""
    from pkgpanda.node import download

    if not catalogue.is_digest(source.sha256):
        raise PandaError.one("--package-info-sha256", f"{source.sha256!r} is no sha256", "64 hexadecimal digits")
    url = f"{download.check_url(source.url)}/{source.info}"
    return catalogue.parse(catalogue.verified(download.fetch_small(node.host, url), source.sha256, url), url)


def fetch(node: Node, url: str, items: Sequence[Item], report: Callable[[str], None]) -> list[str]:
    """Bring packages to the store; the ids of those that were not there. A damaged one is replaced file by file."""
    missing = [item for item in items if not os.path.isdir(node.layout.package(item.id))]
    _check_space(node, missing)
    for item in missing:
        report(f"fetching {item.id} ({item.size / _MIB:.1f} MiB)")
        archive = _download(node, url, item)
        store.add(node.host, node.layout, item.id, archive, item.digest)
        node.host.unlink(archive)
    return [item.id for item in missing]


def repair(node: Node, url: str, items: Sequence[Item], report: Callable[[str], None]) -> None:
    """Put back what is damaged in packages that are in the store."""
    for item in items:
        if not os.path.isdir(node.layout.package(item.id)):
            continue
        problems = store.verify(node.layout, item.id)
        if problems:
            report(f"repairing {item.id}: {problems[0].message}" + (" and more" if len(problems) > 1 else ""))
            archive = _download(node, url, item)
            store.repair(node.host, node.layout, item.id, archive, item.digest)
            node.host.unlink(archive)


def _download(node: Node, url: str, item: Item) -> str:
    from pkgpanda.node import download

    node.host.make_directories(node.layout.at("downloads"))
    path = node.layout.at("downloads", f"{item.digest.sha256}.tar.xz")
    download.fetch_file(node.host, f"{download.check_url(url)}/{item.filename}", path, item.size, item.digest.sha256)
    return path


def _check_space(node: Node, items: Sequence[Item]) -> None:
    needed = sum(item.size for item in items) * _UNPACKED
    free, _ = node.host.free(node.layout.root)
    if needed > free:
        raise PandaError.one(
            node.layout.root, f"has {free // _MIB} MiB free, about {needed // _MIB + 1} are needed", "make room"
        )


def plan(node: Node, source: Source) -> tuple[Catalogue, list[Item]]:
    """The bundle's list and what of it is for this node."""
    roles = node.layout.roles()
    if not roles:
        raise PandaError.one(f"{node.layout.config_dir}/roles", "names no role", "run dcos_install.sh with a role")
    known = fetch_catalogue(node, source)
    items = [item for item in known.values() if set(item.roles) & set(roles)]
    if not items:
        raise PandaError.one(source.url, f"has no package for the role {', '.join(roles)}")
    return known, items


def run(node: Node, source: Source, upgrade: bool, report: Callable[[str], None]) -> Outcome:
    """Make the bundle's set for this node's roles the live one."""
    known, items = plan(node, source)
    ids = sorted(item.id for item in items)
    live = generation.current(node.layout)
    _refuse_replacing(node, live, ids, upgrade)
    activate.own(node.host, node.layout)
    repair(node, source.url, items, report)
    fetch(node, source.url, items, report)
    catalogue.keep(node.host, node.layout, known)
    prepared = activate.prepare(node, ids, "upgrade" if live else "install")
    outcome = activate.apply_prepared(node, prepared)
    collect(node)
    if not outcome.plan.actions:
        return Outcome(outcome.plan, (*outcome.notes, *activate.reapply(node)))
    return outcome


def _refuse_replacing(node: Node, live: Generation | None, ids: list[str], upgrade: bool) -> None:
    if live and sorted(live.packages) != ids and not upgrade:
        raise PandaError.one(
            node.layout.root, f"runs another set (generation {live.number})", "use --upgrade to replace it"
        )


def dry_run(node: Node, source: Source, upgrade: bool) -> tuple[list[str], Plan | None]:
    """What `run` would fetch and, where everything is in the store already, what it would do then."""
    _, items = plan(node, source)
    _refuse_replacing(node, generation.current(node.layout), sorted(item.id for item in items), upgrade)
    missing = [item.id for item in items if not os.path.isdir(node.layout.package(item.id))]
    if missing:
        return missing, None
    return [], activate.prepare(node, sorted(item.id for item in items), "upgrade").plan


def collectable(node: Node) -> list[str]:
    """What `collect` would remove: generations as `generation <n>`, packages by id."""
    old = generation.superfluous(node.layout, node.options.keep)
    kept = [number for number in generation.numbers(node.layout) if number not in old]
    used = {package for number in kept for package in generation.read(node.layout, number).packages}
    unused = [package_id for package_id in store.list_ids(node.layout) if package_id not in used]
    return [*(f"generation {number}" for number in old), *unused]


def collect(node: Node) -> list[str]:
    """Remove generations beyond those kept, and the packages that no generation uses; what went, by name."""
    layout, gone = node.layout, collectable(node)
    for name in gone:
        if name.startswith("generation "):
            generation.remove(node.host, layout, int(name.partition(" ")[2]))
        else:
            store.remove(node.host, layout, name)
    store.clean(node.host, layout)
    generation.clean(node.host, layout)
    node.host.remove_tree(layout.at("downloads"))
    return gone
