"""`version`: what this client speaks, and what the cluster says of itself."""

import argparse
import importlib

from calico.calicoctl.session import Failure, Session
from calico.client.errors import ResourceError
from calico.datastore.errors import DatastoreError
from calico.model.problems import ModelError

_SPEAKS = "v3.14.0"


def run(session: Session, options: argparse.Namespace) -> int:
    """Print both; the client's also where the cluster cannot be asked."""
    session.say(f"Client Version:    {_SPEAKS}")
    session.say(f"Git commit:        {build()}")
    try:
        spec = session.client(options.config).get("ClusterInformation", "default").spec
    except (ResourceError, ModelError, DatastoreError) as error:
        raise Failure(f"Unable to retrieve Cluster Version or Type: {error}") from None
    session.say(f"Cluster Version:   {spec.calico_version or 'unknown'}")
    session.say(f"Cluster Type:      {spec.cluster_type or 'unknown'}")
    return 0


def build() -> str:
    """What names the build: the package's id in this file's path or, where calicoctl is one file, the commit in it."""
    try:
        return str(importlib.import_module("calico_build").NAME)
    except ImportError:
        pass
    return next((part for part in reversed(__file__.split("/")) if part.startswith("calico--")), "unknown")
