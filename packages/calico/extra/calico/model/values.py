"""What stands under each key of etcd that is no resource: reading and writing by key."""

from collections.abc import Mapping
from typing import Any

from calico.model.keys import (
    AffinityKey,
    BlockKey,
    FelixStatusKey,
    HandleKey,
    HostEndpointStatusKey,
    IPAMConfigKey,
    Key,
    ResourceKey,
    WorkloadStatusKey,
)
from calico.model.problems import ModelError, Report
from calico.model.schema import Struct


def _struct(key: Key) -> Struct:
    from calico.model import ipam, status

    match key:
        case BlockKey():
            return ipam.BLOCK
        case AffinityKey():
            return ipam.AFFINITY
        case HandleKey():
            return ipam.HANDLE
        case IPAMConfigKey():
            return ipam.CONFIG
        case FelixStatusKey():
            return status.FELIX_STATUS
        case WorkloadStatusKey() | HostEndpointStatusKey():
            return status.ENDPOINT_STATUS
        case ResourceKey():
            raise TypeError(f"{key.path} holds a resource: use keys.from_stored")


def decode_value(key: Key, document: Mapping[str, Any]) -> Any:
    """The typed value under `key`; raises ModelError when it is unreadable."""
    report = Report(key.path, strict=False)
    value = _struct(key).decode(document, (), report)
    if report.problems:
        raise ModelError(report.problems)
    return value


def encode_value(key: Key, value: Any) -> dict[str, Any]:
    """The JSON to store under `key`."""
    return _struct(key).encode(value)
