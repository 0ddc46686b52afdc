"""`pool migrate OLD NEW`: from one pool to another, as far as the containers allow."""

import argparse
import json

from calico.calicoctl.session import Failure, Session
from calico.client.errors import ResourceError
from calico.datastore.errors import DatastoreError
from calico.ipam.allocator import Ipam
from calico.ipam.check import Use
from calico.ipam.errors import IpamError
from calico.model.problems import ModelError
from calico.node.migration import MigrationError, Progress, State, migrate


def run(session: Session, options: argparse.Namespace) -> int:
    """Go on, and say what the old pool still holds."""
    client = session.client(options.config, options.dry_run)
    try:
        progress = migrate(client, Ipam(client.store), options.old, options.new)
    except ModelError as error:
        raise Failure(*(str(one) for one in error.problems)) from None
    except (MigrationError, ResourceError, IpamError, DatastoreError) as error:
        raise Failure(str(error)) from None
    if options.format == "json":
        session.say(json.dumps({**progress._asdict(), "tenants": [one._asdict() for one in progress.tenants]}))
    else:
        _tell(session, progress, "would have " if options.dry_run else "")
    return 0


def _tell(session: Session, progress: Progress, would: str) -> None:
    for step in progress.steps:
        session.say(f"{would}{step}")
    for one in progress.tenants:
        session.say(f"{one.address}: {one.use}: {one.holder}")
    if progress.state is State.DONE:
        session.say(f"{would}migrated from {progress.old} to {progress.new}")
        return
    workloads = sum(one.use is Use.ENDPOINT for one in progress.tenants)
    others = len(progress.tenants) - workloads
    session.say(
        f"{progress.old} still has {workloads} addresses of workloads and {others} others. Restart these workloads, so "
        "that they get addresses of the new pool, then run this again; agents move their tunnels by themselves, and "
        "`calicoctl ipam check` names what leaked"
    )
