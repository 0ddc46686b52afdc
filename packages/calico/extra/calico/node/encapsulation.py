"""Configuration that changed after the first boot: the encapsulation is carried out, a changed CIDR is only reported.

Each node keeps on its disk what its configuration said last. Only a node whose own configuration changed acts, and only
on a pool that still has what that configuration said before. So the first node of a rolling upgrade changes the pool,
the others find it changed, one that restarts with the old configuration changes nothing back, and what an operator set
with calicoctl stays.
"""

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from calico.client.errors import AlreadyExistsError, ConflictError, NotFoundError
from calico.client.resources import Client
from calico.daemon.log import fields
from calico.model.felixconfiguration import SPEC as FELIX_SPEC
from calico.model.metadata import Metadata
from calico.model.resource import Resource
from calico.node.settings import Encapsulation, NodeSettings

log = logging.getLogger(__name__)

_FORMAT = "dcos-calico/node-configuration/1"
_ATTEMPTS = 20


class Applied(NamedTuple):
    """What a node's configuration said when it last started to the end."""

    cidr: str
    encapsulation: Encapsulation


def record_path(settings: NodeSettings) -> Path:
    """Where a node keeps it."""
    return settings.state / "configuration.json"


def read_record(path: Path) -> Applied | None:
    """What was kept; None before the first start, or when it cannot be read."""
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != _FORMAT:
            return None
        return Applied(str(document["cidr"]), Encapsulation(str(document["ipip"]), str(document["vxlan"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(path: Path, applied: Applied) -> None:
    """Keep it."""
    from calico.node.startup import replace_file

    document = {"format": _FORMAT, "cidr": applied.cidr, **applied.encapsulation._asdict()}
    replace_file(path, json.dumps(document).encode() + b"\n", 0o644)


def carry_out(client: Client, settings: NodeSettings) -> None:
    """Write a changed encapsulation to the pool and to felix's configuration, once, and remember what was said."""
    now = Applied(settings.pool4.cidr, settings.pool4.encapsulation)
    before = read_record(record_path(settings))
    if before == now:
        return
    if before is not None and before.encapsulation != now.encapsulation:
        switch(client, now.cidr, before.encapsulation, now.encapsulation)
    write_record(record_path(settings), now)


def switch(client: Client, cidr: str, before: Encapsulation, after: Encapsulation) -> bool:
    """Change the encapsulation of the pool of `cidr` where it is still `before`; whether that was so.

    felix learns first that the new one is used, and last that the old one is not.
    """
    for _ in range(_ATTEMPTS):
        pool = pool_of(client, cidr)
        if pool is None or encapsulation_of(pool) != before:
            if pool is not None:  # another node's work; the end of it may be missing
                _set_flags(client)
            return False
        spec = pool.spec._replace(ipip_mode=after.ipip, vxlan_mode=after.vxlan)
        with suppress(ConflictError):
            _set_flags(client, after)
            client.replace(pool._replace(spec=spec))
            _set_flags(client)
            log.info("changed the encapsulation %s", fields(pool=pool.metadata.name, before=before, after=after))
            return True
    raise ConflictError(f"IPPool of {cidr}")


def pool_of(client: Client, cidr: str) -> Resource[Any] | None:
    """The pool of a network."""
    return next((pool for pool in client.list("IPPool").items if pool.spec.cidr == cidr), None)


def encapsulation_of(pool: Resource[Any]) -> Encapsulation:
    """What a pool says."""
    return Encapsulation(pool.spec.ipip_mode or "Never", pool.spec.vxlan_mode or "Never")


def _set_flags(client: Client, coming: Encapsulation | None = None) -> None:
    """Have felix's flags say what the pools (and `coming`) use. What nothing uses is unset: a later pool sets it."""
    for _ in range(_ATTEMPTS):
        try:
            stored: Resource[Any] | None = client.get("FelixConfiguration", "default")
        except NotFoundError:
            stored = None
        spec = stored.spec if stored else FELIX_SPEC.zero
        used = [encapsulation_of(pool) for pool in client.list("IPPool").items]
        used += [coming] if coming else []
        flags: dict[str, Any] = {
            "ipip_enabled": any(one.ipip != "Never" for one in used) or None,
            "vxlan_enabled": any(one.vxlan != "Never" for one in used) or None,
        }
        wanted = spec._replace(**flags)
        if wanted == spec:
            return
        with suppress(AlreadyExistsError, ConflictError):
            if stored is None:
                client.create(Resource("FelixConfiguration", Metadata("default"), wanted))
            else:
                client.replace(stored._replace(spec=wanted))
            return
    raise ConflictError("FelixConfiguration(default)")


def advice(client: Client, settings: NodeSettings) -> tuple[str, ...]:
    """Where the cluster is not as this node's configuration says, and what an operator can do about it."""
    wanted = settings.pool4
    if not wanted.cidr or not settings.default_pools:
        return ()
    pools = [pool for pool in client.list("IPPool").items if ":" not in pool.spec.cidr]
    of_it = next((pool for pool in pools if pool.spec.cidr == wanted.cidr), None)
    if of_it is None:
        old = next((pool for pool in pools if pool.metadata.name == "default-ipv4-ippool"), pools[0] if pools else None)
        if old is None:
            return (f"there is no pool of calico_network_cidr {wanted.cidr}",)
        what = f"calico_network_cidr is {wanted.cidr} and the pool {old.metadata.name} has {old.spec.cidr}"
        return (f"{what}: run `calicoctl pool migrate {old.spec.cidr} {wanted.cidr}`",)
    if (said := encapsulation_of(of_it)) != wanted.encapsulation:
        name = of_it.metadata.name
        what = f"the pool {name} is encapsulated by {said}, and the configuration says {wanted.encapsulation}"
        return (f"{what}: change one of them (calicoctl patch ippool {name})",)
    return ()
