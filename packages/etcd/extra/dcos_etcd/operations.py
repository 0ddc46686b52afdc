"""The operator's procedures: backup, verify, restore, recover, rejoin. Each looks first, asks, then acts.

What is replaced is renamed and stays beside the data, so each of them can be taken back by hand. A procedure that was
interrupted is run again from its beginning: every step finds what it would have done.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dcos_etcd.backup import FORMAT, SNAPSHOT, Manifest, Progress, check_cluster, digest, read_archive, write_archive
from dcos_etcd.client import PACKAGE, Client
from dcos_etcd.datadir import read_identity, set_aside
from dcos_etcd.errors import EtcdError
from dcos_etcd.files import read_memory, remember
from dcos_etcd.plan import Member
from dcos_etcd.registry import Registry
from dcos_etcd.settings import Settings, member_name

UNIT = "dcos-etcd"
_DEADLINE = 120.0
_ELECTION = 20.0
_ELECTING = ("leader changed", "no leader", "timed out", "deadline exceeded")
_PR_SET_PDEATHSIG = 1


class Operator(NamedTuple):
    """What every procedure works with. `confirm` raises EtcdError when the answer is no; `say` is for what happens."""

    settings: Settings
    client: Client
    registry: Registry
    confirm: Callable[[str], None]
    say: Callable[[str], None]
    progress: Progress


def backup(work: Operator, path: Path) -> Manifest:
    """Take a backup of the running cluster through this master."""
    if path.exists():
        raise EtcdError(str(path), "exists", "a backup never replaces a file: give another name")
    if not path.parent.is_dir():
        raise EtcdError(str(path.parent), "is no directory")
    address = work.settings.address
    status = work.client.status(address)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".etcd-backup-") as temporary:
        snapshot = Path(temporary) / SNAPSHOT
        work.client.root(address, "snapshot", "save", str(snapshot), timeout=3600)
        found = _inspect(work.client, snapshot)
        known = tuple(each for each in read_memory(work.settings.state).clusters if each != f"{status.cluster_id:x}")
        manifest = Manifest(
            format=FORMAT,
            taken=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            member=work.settings.name,
            etcd=status.version,
            clusters=(*known, f"{status.cluster_id:x}"),
            revision=found["revision"],
            keys=found["totalKey"],
            hash=found["hash"],
            size=snapshot.stat().st_size,
            sha256=digest(snapshot),
        )
        write_archive(path, snapshot, manifest, work.progress)
    return manifest


def verify(work: Operator, path: Path) -> Manifest:
    """Read the whole archive and have etcd read its snapshot; EtcdError where it is not whole."""
    with tempfile.TemporaryDirectory(dir=work.settings.state, prefix=".verify-") as temporary:
        return _verified(work, path, Path(temporary))


def restore(work: Operator, path: Path, cluster: str) -> Manifest:
    """Put the backup in the place of this master's data. All masters must be stopped, and each is restored."""
    settings = work.settings
    with tempfile.TemporaryDirectory(dir=settings.state, prefix=".restore-") as temporary:
        directory = Path(temporary)
        manifest = _verified(work, path, directory)
        check_cluster(path, manifest, read_memory(settings.state).clusters, cluster)
        with work.registry.locked():
            masters = tuple(sorted(work.registry.nodes())) or (settings.address,)
        _refuse_while_running(work, masters)
        work.confirm(
            f"The data of etcd on this master is replaced by the backup of {manifest.taken} ({manifest.keys} keys, "
            f"revision {manifest.revision}), as one of {', '.join(masters)}. Each of them has to be restored."
        )
        members = [Member(0, "", settings.peer_url_of(address), False) for address in masters]
        _restore_snapshot(work, directory / SNAPSHOT, manifest, members, directory / "data")
        _systemctl("stop")
        _replace_data(work, directory / "data")
    _note_identity(settings, masters)
    work.say("restored; when every master is, start etcd on all of them: systemctl start dcos-etcd")
    return manifest


def recover(work: Operator) -> Path:
    """Begin anew with this master's data alone, after a majority was lost for good; where the copy of it is."""
    settings = work.settings
    if read_identity(settings.data) is None:
        raise EtcdError(
            str(settings.data), "holds no data of etcd", "run this on a master that has it, or restore a backup"
        )
    others = _others(work)
    _refuse_while_running(work, others)
    if _has_majority(work):
        raise EtcdError(settings.name, "has a majority: there is nothing to recover", "see dcos-etcdctl members")
    work.confirm(
        f"{settings.name} becomes the only member, with the data it has; {', '.join(others) or 'no other master'} will "
        "join anew and take its data. Their etcd must be stopped, and must not have formed a majority without this one."
    )
    _systemctl("stop")
    kept = settings.data.with_name(
        f"{settings.data.name}.before-recover-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    )
    work.say(f"copying the data to {kept}")
    _copy_owned(settings.data, kept)
    work.say("starting etcd once, as a cluster of its own")
    with _forced(settings):
        _wait_until(lambda: _is_alone(work), "etcd does not become a cluster of one", _DEADLINE)
    if settings.discovery == "zookeeper":
        with work.registry.locked():
            work.registry.replace((settings.address,))
    _note_identity(settings, (settings.address,))
    _systemctl("start")
    _wait_until(lambda: _has_majority(work), "dcos-etcd does not come up: see journalctl -u dcos-etcd", _DEADLINE)
    work.say("recovered; start etcd on the other masters now, each joins by itself: systemctl start dcos-etcd")
    return kept


def rejoin(work: Operator) -> Path:
    """Give this master's data up and join the cluster that answers as a new member; where the data is kept."""
    settings = work.settings
    if not settings.data.exists():
        raise EtcdError(str(settings.data), "is not there", "systemctl start dcos-etcd joins")
    views, _ = work.client.views(_others(work))
    cluster = next((view for view in views if view.has_quorum), None)
    if cluster is None:
        raise EtcdError("etcd", "no other master belongs to a cluster with a majority, so there is none to join")
    work.confirm(f"The data of etcd on this master is set aside, and it joins the cluster at {cluster.address} anew.")
    _systemctl("stop")
    kept = set_aside(settings.data, "before-rejoin")
    _systemctl("start")
    return kept


def _verified(work: Operator, path: Path, directory: Path) -> Manifest:
    manifest = read_archive(path, directory, work.progress)
    found = _inspect(work.client, directory / SNAPSHOT)
    if (found["hash"], found["revision"], found["totalKey"]) != (manifest.hash, manifest.revision, manifest.keys):
        raise EtcdError(str(path), "is no whole backup: its keys are not those its manifest names", "use another copy")
    return manifest


def _inspect(client: Client, snapshot: Path) -> Mapping[str, int]:
    found: Mapping[str, int] = json.loads(client.offline("snapshot", "status", str(snapshot), "-w", "json"))
    return found


def _restore_snapshot(work: Operator, snapshot: Path, manifest: Manifest, members: list[Member], target: Path) -> None:
    """The token gives each backup's cluster an id of its own, the same on every master."""
    work.client.offline(
        "snapshot",
        "restore",
        str(snapshot),
        f"--name={work.settings.name}",
        f"--initial-cluster={','.join(f'{member.label}={member.peer_url}' for member in members)}",
        f"--initial-cluster-token=dcos-calico-{manifest.sha256[:16]}",
        f"--initial-advertise-peer-urls={work.settings.peer_url}",
        f"--data-dir={target}",
    )


def _replace_data(work: Operator, new: Path) -> None:
    settings = work.settings
    _own(new, settings.state)
    new.chmod(0o700)
    if settings.data.exists():
        work.say(f"what was there is in {set_aside(settings.data, 'before-restore')}")
    new.rename(settings.data)


def _note_identity(settings: Settings, peers: tuple[str, ...]) -> None:
    identity = read_identity(settings.data)
    if identity is not None:
        remember(settings.state, identity.cluster_id, peers)


def _others(work: Operator) -> tuple[str, ...]:
    known = (*work.settings.masters, *read_memory(work.settings.state).peers)
    return tuple(dict.fromkeys(address for address in known if address != work.settings.address))


def _refuse_while_running(work: Operator, masters: tuple[str, ...]) -> None:
    statuses = work.client.statuses([address for address in masters if address != work.settings.address])
    if running := [address for address, status in statuses.items() if status]:
        raise EtcdError(
            f"etcd on {', '.join(running)}",
            "still runs",
            "stop it on every other master first: systemctl stop dcos-etcd",
        )


def _has_majority(work: Operator) -> bool:
    return work.client.has_quorum(work.settings.address)


def _is_alone(work: Operator) -> bool:
    try:
        members = work.client.members(work.settings.address)[1]
    except EtcdError:
        return False
    return [member.name for member in members] == [work.settings.name] and _is_healthy(work.settings)


def _is_healthy(settings: Settings) -> bool:
    try:
        with urllib.request.urlopen(f"{settings.metrics_url}/health", timeout=5) as answer:
            return bool(json.load(answer).get("health") == "true")
    except (OSError, ValueError):
        return False


@contextmanager
def _forced(settings: Settings) -> Iterator[None]:
    """etcd on this node's data as a cluster of its own; ended on leaving, and by the kernel if we are killed."""
    owner = settings.state.stat()
    library = ctypes.CDLL(None)
    command = [str(PACKAGE / "etcd.sh"), "--force-new-cluster"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env=_environment(settings),
            stdout=log,
            stderr=log,
            user=owner.st_uid,
            group=owner.st_gid,
            extra_groups=[],
            umask=0o077,
            preexec_fn=lambda: library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509  # no thread runs now
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(_DEADLINE)


def _environment(settings: Settings) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("ETCD")},
        "ETCD_TLS": "true" if settings.tls else "false",
        "ETCD_PKI_DIR": str(settings.pki),
        "ETCD_DATA_DIR": str(settings.data),
        "ETCD_CLIENT_PORT": str(settings.client_port),
        "ETCD_PEER_PORT": str(settings.peer_port),
        "ETCD_METRICS_URL": settings.metrics_url,
    }


def _copy_owned(source: Path, target: Path) -> None:
    needed = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    if shutil.disk_usage(source).free < needed:
        raise EtcdError(
            str(source.parent), f"has no room for a copy of the data ({needed >> 20} MiB)", "make room first"
        )
    shutil.copytree(source, target)
    _own(target, source)


def _own(tree: Path, like: Path) -> None:
    owner = like.stat()
    for path in (tree, *tree.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)


def _wait_until(holds: Callable[[], bool], failure: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise EtcdError("etcd", failure, status=3)
        time.sleep(0.3)


def _systemctl(verb: str) -> None:
    """Stop and wait, or start without waiting: alone, a member is not ready before others are there."""
    command = ["systemctl", verb, UNIT] + (["--no-block"] if verb == "start" else [])
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DEADLINE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EtcdError(f"systemctl {verb} {UNIT}", str(error), status=3) from None
    if done.returncode:
        raise EtcdError(f"systemctl {verb} {UNIT}", done.stderr.strip() or "failed", status=3)


def remove_member(work: Operator, address: str) -> None:
    """Remove the member at `address` from the cluster and from the registry."""
    _, members = work.client.members(work.settings.address)
    found = next((member for member in members if address in {member.address, member.name}), None)
    if found is None:
        raise EtcdError(address, "is no member", f"members are {', '.join(sorted(each.address for each in members))}")
    if found.address == work.settings.address:
        raise EtcdError(address, "is this master", "remove it from another one")
    work.confirm(f"{member_name(found.address)} is removed from the cluster; its data is of no use afterwards.")
    _remove(work, found)
    if work.settings.discovery == "zookeeper":
        with work.registry.locked():
            work.registry.replace(tuple(each for each in work.registry.nodes() if each != found.address))


def _remove(work: Operator, member: Member) -> None:
    """The member that is gone may have been the leader: ask again while another is elected."""
    address, end = work.settings.address, time.monotonic() + _ELECTION
    while True:
        try:
            work.client.root(address, "member", "remove", f"{member.id:x}")
        except EtcdError as error:
            if time.monotonic() > end or not any(text in str(error) for text in _ELECTING):
                raise
        if all(each.id != member.id for each in work.client.members(address)[1]):
            return
        time.sleep(0.5)
