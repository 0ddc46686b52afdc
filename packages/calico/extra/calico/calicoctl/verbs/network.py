"""`network create | delete | list | cni`: networks of the cluster beside `calico`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from calico.calicoctl import networks
from calico.calicoctl.output.table import bordered
from calico.calicoctl.session import Failure, Session
from calico.client.errors import ResourceError
from calico.datastore.errors import DatastoreError
from calico.ipam.errors import IpamError
from calico.model.problems import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calico.client.resources import Client
    from calico.model.registry import Placement, Record

CONFIGURATION = Path("/opt/mesosphere/etc")


def run(session: Session, options: argparse.Namespace) -> int:
    """Run one of the four."""
    verbs = {"create": _create, "delete": _delete, "list": _list, "cni": _cni}
    try:
        client = session.client(options.config, getattr(options, "dry_run", False))
        return verbs[options.command.partition(" ")[2]](session, options, client)
    except ModelError as error:
        raise Failure(*(str(one) for one in error.problems)) from None
    except (ResourceError, IpamError, DatastoreError) as error:
        raise Failure(str(error)) from None


def _create(session: Session, options: argparse.Namespace, client: "Client") -> int:
    wish = networks.read_wish(options.name, options.cidr, options.profile, options.allow_overlap)
    if found := networks.problems(wish, networks.claims(client, CONFIGURATION)):
        raise Failure(*found)
    would = "would make " if options.dry_run else "made "
    for line in networks.create(client, wish):
        session.say(f"{would}{line}")
    return 0


def _delete(session: Session, options: argparse.Namespace, client: "Client") -> int:
    done, left = networks.delete(client, options.name, None if options.dry_run else options.wait)
    for line in done:
        session.say(f"{'would remove' if options.dry_run else 'removed'} {line}")
    for line in left:
        session.complain(f"network {options.name}: {line}")
    if left:
        session.complain("stop what uses it, or wait for the nodes, and run this again; calicoctl node decommission")
        session.complain("clears away a node that is gone")
        return 1
    if not done:
        raise Failure(f"there is no network {options.name} that calicoctl made")
    return 0


def _list(session: Session, options: argparse.Namespace, client: "Client") -> int:
    engines = _nodes(networks.records(client))
    files = _nodes(networks.placements(client))
    found = networks.entries(client)
    if options.format == "json":
        session.say(
            json.dumps(
                [
                    {
                        "name": entry.name,
                        "subnets": list(entry.definition.subnets),
                        "profile": entry.definition.profile,
                        "removing": entry.removing,
                        "docker": sorted(engines.get(entry.name, [])),
                        "mesos": sorted(files.get(entry.name, [])),
                    }
                    for entry in found
                ],
                indent=2,
            )
        )
        return 0
    rows = [("NAME", "SUBNETS", "PROFILE", "DOCKER", "MESOS")]
    rows += [
        (
            entry.name + (" (being removed)" if entry.removing else ""),
            ",".join(entry.definition.subnets),
            entry.definition.profile,
            str(len(engines.get(entry.name, []))),
            str(len(files.get(entry.name, []))),
        )
        for entry in found
    ]
    session.stdout.write(bordered(rows))
    return 0


def _nodes(found: "Sequence[Record | Placement]") -> dict[str, list[str]]:
    """The nodes of each network."""
    nodes: dict[str, list[str]] = {}
    for one in found:
        nodes.setdefault(one.name, []).append(one.node)
    return nodes


def _cni(session: Session, options: argparse.Namespace, client: "Client") -> int:
    session.stdout.write(networks.cni_configuration(client, options.name, CONFIGURATION))
    return 0
