"""`node decommission NODE`: clear away what a node that is gone has in etcd."""

import argparse

from calico.calicoctl.session import Failure, Session
from calico.client.errors import ResourceError
from calico.datastore.errors import DatastoreError
from calico.ipam.allocator import Ipam
from calico.ipam.errors import IpamError
from calico.model.problems import ModelError
from calico.node.decommission import clear
from calico.node.presence import is_alive


def run(session: Session, options: argparse.Namespace) -> int:
    """Clear it, unless its agent runs."""
    client = session.client(options.config, options.dry_run)
    node = options.node
    try:
        if is_alive(client.store, node) and not options.force:
            raise Failure(
                f"{node} runs: its agent was heard of within the last minute. Stop the machine, or dcos-calico-node on "
                "it, first; --force clears it all the same, and its containers lose their addresses"
            )
        done = clear(client, Ipam(client.store), node)
    except (ResourceError, ModelError, IpamError, DatastoreError) as error:
        raise Failure(f"Failed to decommission {node}: {error}", "Run it again: what was done stays done.") from None
    if done.is_nothing:
        raise Failure(f"There is nothing of a node {node}")
    would = "would be removed" if options.dry_run else "removed"
    for line in (
        *done.endpoints,
        *(f"address {one}" for one in done.addresses),
        *(f"claim on {one}" for one in done.blocks),
        *([f"Node({node})"] if done.had_node else []),
        *([f"{done.status_keys} keys of felix' status"] if done.status_keys else []),
    ):
        session.say(f"{line} {would}")
    return 0
