"""etcd's users: root, and calico, who may read and write below /calico/ and nowhere else.

Every master does this after its etcd has started, and each step may have been done already: by another master, or by
this one before it was killed. Enabling comes last, so a cluster is never without the users it asks for.
"""

from collections.abc import Callable

from dcos_etcd.client import REFUSED, Client
from dcos_etcd.errors import EtcdError

USER, PREFIX = "calico", "/calico/"
_DONE = ("already exists", "already granted")


def ensure_users(client: Client, address: str, log: Callable[[str], None]) -> None:
    """Make the users and enable them. EtcdError when etcd cannot be brought there.

    Where they are enabled and root's password is another, there is nothing this node can do, and no reason to stop
    etcd: that is only logged.
    """
    root, calico = client.password("etcd-root-password"), client.password("etcd-password")
    if not _are_enabled(client, address):
        _unless_done(client, address, "role", "add", USER)
        _unless_done(client, address, "role", "grant-permission", USER, "readwrite", "--prefix=true", PREFIX)
        _ensure_user(client, address, USER, calico, USER)
        _ensure_user(client, address, "root", root, "root")
        _unless_done(client, address, "auth", "enable")
    if not _may_log_in(client, address, "root", root):
        log(
            f"etcd refuses root's password: {client.settings.pki}/etcd-root-password must be the one the cluster was "
            "made with; dcos-etcdctl cannot work until it is"
        )
    elif not _may_log_in(client, address, USER, calico):
        client.root(address, "user", "passwd", USER, "--interactive=false", stdin=f"{calico}\n")


def _are_enabled(client: Client, address: str) -> bool:
    try:
        client.run(address, "get", "health", "--keys-only")
    except EtcdError as error:
        if any(text in str(error) for text in REFUSED):
            return True
        raise
    return False


def _ensure_user(client: Client, address: str, name: str, password: str, role: str) -> None:
    _unless_done(client, address, "user", "add", name, "--interactive=false", stdin=f"{password}\n")
    client.run(address, "user", "passwd", name, "--interactive=false", stdin=f"{password}\n")
    _unless_done(client, address, "user", "grant-role", name, role)


def _unless_done(client: Client, address: str, *arguments: str, stdin: str = "") -> None:
    try:
        client.run(address, *arguments, stdin=stdin)
    except EtcdError as error:
        if not any(text in str(error) for text in _DONE):
            raise


def _may_log_in(client: Client, address: str, name: str, password: str) -> bool:
    try:
        client.run(address, "get", PREFIX, "--keys-only", "--limit=1", login=f"{name}:{password}")
    except EtcdError as error:
        if "authentication failed" in str(error):
            return False
        raise
    return True
