"""The name by which a plugin knows its node."""

import os
from pathlib import Path

from calico.cni.errors import CniError

NODENAME_FILE = Path("/var/lib/calico/nodename")


def node_name(configured: str, is_optional: bool, path: Path = NODENAME_FILE) -> str:
    """The name configured, else the one start-up wrote, else, where the file is optional, the host's.

    Raise CniError when the file must be there and is not.
    """
    if configured:
        return configured
    try:
        if written := path.read_text().strip():
            return written
        reason = "is empty"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    if is_optional:
        return os.uname().nodename.lower()
    hint = "check that dcos-calico-node runs: it writes this file once it has reached etcd"
    raise CniError(f"{path}: {reason}: {hint}")
