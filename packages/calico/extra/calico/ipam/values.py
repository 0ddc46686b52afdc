"""Between etcd's bytes and IPAM's values. What is written is what upstream's encoder writes, member for member."""

import json
from typing import Any

from calico.datastore.store import KeyValue
from calico.ipam import block as blocks
from calico.ipam.errors import UnreadableError
from calico.model.ipam import AFFINITY, BLOCK, CONFIG, HANDLE, Affinity, AllocationAttribute, Block, Handle, IPAMConfig
from calico.model.keys import AffinityKey, BlockKey, parse_key
from calico.model.problems import Report
from calico.model.schema import Struct

PENDING, CONFIRMED, PENDING_DELETION = "pending", "confirmed", "pendingDeletion"
DEFAULT_CONFIG = IPAMConfig(strict_affinity=False, auto_allocate_blocks=True)


def read_block(item: KeyValue) -> Block:
    """A block; UnreadableError when it cannot be worked with."""
    key = parse_key(item.key)
    found: Block = _read(BLOCK, item)
    cidr = key.cidr if isinstance(key, BlockKey) else found.cidr
    try:
        flaw = blocks.flaw(found, cidr)
    except ValueError:
        flaw = "its key names no network"
    if flaw:
        raise UnreadableError(f"{item.key}: {flaw}")
    return found


def read_affinity(item: KeyValue) -> Affinity:
    """A host's claim. An empty value, and an empty state, are old writers' `confirmed`."""
    found: Affinity = _read(AFFINITY, item._replace(value=item.value or b"{}"))
    return found._replace(state=found.state or CONFIRMED)


def read_handle(item: KeyValue) -> Handle:
    """A handle."""
    found: Handle = _read(HANDLE, item)
    return found


def read_config(item: KeyValue | None) -> IPAMConfig:
    """The configuration; what stands for it where there is none."""
    if item is None:
        return DEFAULT_CONFIG
    found: IPAMConfig = _read(CONFIG, item)
    return found


def write_block(block: Block) -> bytes:
    """The bytes of a block; notes in the order of their names."""
    attributes = None if block.attributes is None else tuple(map(_sorted, block.attributes))
    return _write(BLOCK, block._replace(attributes=attributes))


def write_affinity(state: str) -> bytes:
    """The bytes of a claim in a state."""
    return _write(AFFINITY, Affinity(state))


def write_handle(counts: dict[str, int]) -> bytes:
    """The bytes of a handle that holds so many addresses in each block."""
    return _write(HANDLE, Handle(dict(sorted(counts.items()))))


def write_config(config: IPAMConfig) -> bytes:
    """The bytes of the configuration."""
    return _write(CONFIG, config)


def affinity_key(item: KeyValue) -> AffinityKey | None:
    """Whose claim on which block an item is; None where its key names no network."""
    key = parse_key(item.key)
    return key if isinstance(key, AffinityKey) and _is_network(key.cidr) else None


def block_cidr(item: KeyValue) -> str:
    """The network of a block's key; empty where it names none."""
    key = parse_key(item.key)
    return key.cidr if isinstance(key, BlockKey) and _is_network(key.cidr) else ""


def _is_network(cidr: str) -> bool:
    from calico.model.formats import parse_cidr

    found = parse_cidr(cidr)
    return found is not None and found[0] == found[1].network_address


def _sorted(attribute: AllocationAttribute) -> AllocationAttribute:
    return attribute._replace(secondary=dict(sorted(attribute.secondary.items()))) if attribute.secondary else attribute


def _read(struct: Struct, item: KeyValue) -> Any:
    try:
        document = json.loads(item.value)
    except ValueError:
        raise UnreadableError(f"{item.key}: the stored value is not JSON") from None
    report = Report(item.key, strict=False)
    found = struct.decode(document, (), report)
    if report.problems:
        raise UnreadableError(str(report.problems[0]))
    return found


def _write(struct: Struct, value: Any) -> bytes:
    return json.dumps(struct.encode(value), separators=(",", ":"), ensure_ascii=False).encode()
