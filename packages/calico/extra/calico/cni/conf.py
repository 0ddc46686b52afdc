"""What a runtime asks for: CNI's environment and the network configuration on standard input, as values."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from calico.cni.errors import BAD_CONFIG, BAD_ENVIRONMENT, BAD_JSON, INCOMPATIBLE, CniError
from calico.cni.labels import endpoint_labels

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")
IPAM_TYPE = "calico-ipam"
DEFAULT_MTU = 1500

_DATASTORE = {
    "datastore_type": "datastoreType",
    "etcd_endpoints": "etcdEndpoints",
    "etcd_discovery_srv": "etcdDiscoverySrv",
    "etcd_username": "etcdUsername",
    "etcd_password": "etcdPassword",
    "etcd_password_file": "etcdPasswordFile",
    "etcd_key_file": "etcdKeyFile",
    "etcd_cert_file": "etcdCertFile",
    "etcd_ca_cert_file": "etcdCACertFile",
}
NETWORK_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
_INTERFACE = re.compile(r"[^\s/:]{1,15}")
_NEEDS_CONTAINER = ("ADD", "DEL", "CHECK")
_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


class IpamConf(NamedTuple):
    """The `ipam` member. Pools are CIDRs or names."""

    type: str = ""
    assign_ipv4: bool = True
    assign_ipv6: bool = False
    ipv4_pools: tuple[str, ...] = ()
    ipv6_pools: tuple[str, ...] = ()


class Attachment(NamedTuple):
    """A container's interface in a network."""

    container_id: str
    interface: str


class NetConf(NamedTuple):
    """A network configuration. `datastore` has the members of a CalicoAPIConfig that it gives; `profile` is that of the
    network's containers: the network's own name, unless the configuration says otherwise."""

    cni_version: str
    name: str
    profile: str
    type: str
    mtu: int
    nodename: str
    nodename_is_optional: bool
    datastore: Mapping[str, str]
    policy_type: str
    allow_ip_forwarding: bool
    addresses_without_ipam: bool
    ipam: IpamConf
    labels: Mapping[str, str]
    previous_addresses: tuple[str, ...]
    valid_attachments: tuple[Attachment, ...] | None


class Call(NamedTuple):
    """One call of a plugin. `namespace` is a descriptor of the container's network namespace; -1: it is not there."""

    plugin: str
    command: str
    attachment: Attachment
    namespace_path: str
    namespace: int
    arguments: Mapping[str, str]
    conf: NetConf


def parse_call(plugin: str, environment: Mapping[str, str], stdin: bytes, namespace: int) -> Call:
    """The call that a runtime makes. Raise CniError for the first thing it says wrong."""
    command = environment.get("CNI_COMMAND", "")
    if command not in COMMANDS:
        raise CniError(f"CNI_COMMAND {command!r}: must be one of {', '.join(COMMANDS)}", BAD_ENVIRONMENT)
    conf = parse_conf(stdin, is_named=command != "VERSION")
    if (since := _SINCE.get(command)) and _number(conf.cni_version) < _number(since):
        raise CniError(f"{command} is of CNI {since}; this configuration is of {conf.cni_version}", INCOMPATIBLE)
    attachment = Attachment(environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", ""))
    path = environment.get("CNI_NETNS", "")
    if command in _NEEDS_CONTAINER:
        _check_attachment(command, attachment, path)
    return Call(plugin, command, attachment, path, namespace, _arguments(environment.get("CNI_ARGS", "")), conf)


def version_of(stdin: bytes) -> str:
    """The version in which an error is to be answered, of whatever a runtime sent."""
    try:
        version = json.loads(stdin).get("cniVersion")
    except (ValueError, AttributeError):
        version = None
    return version if isinstance(version, str) and version in VERSIONS else VERSIONS[0]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _check_attachment(command: str, attachment: Attachment, path: str) -> None:
    missing = [
        name
        for name, value in (
            ("CNI_CONTAINERID", attachment.container_id),
            ("CNI_IFNAME", attachment.interface),
            ("CNI_NETNS", path if command != "DEL" else "-"),
        )
        if not value
    ]
    if missing:
        raise CniError(f"required env variables [{','.join(missing)}] missing", BAD_ENVIRONMENT)
    if not _INTERFACE.fullmatch(attachment.interface) or attachment.interface in (".", ".."):
        raise CniError(f"CNI_IFNAME {attachment.interface!r}: not the name of an interface", BAD_ENVIRONMENT)


def _arguments(text: str) -> Mapping[str, str]:
    pairs = [part.partition("=") for part in text.split(";") if part]
    if bad := [key for key, equals, _ in pairs if not equals]:
        raise CniError(f"CNI_ARGS {text!r}: {bad[0]!r} is not KEY=VALUE", BAD_ENVIRONMENT)
    return {key: value for key, _, value in pairs}


class _Reader:
    """Members of a JSON object, each of the type asked for."""

    def __init__(self, document: Any, where: str = "") -> None:
        if not isinstance(document, dict):
            raise CniError(f"{where or 'the network configuration'}: must be an object", BAD_CONFIG)
        self._document, self._where = document, where

    def text(self, name: str, default: str = "") -> str:
        return str(self._of(name, str, default, "text"))

    def flag(self, name: str, default: bool = False) -> bool:
        """true, false, or these words as text, which is how upstream's `assign_ipv4` is written."""
        value = self._document.get(name)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        return bool(self._of(name, bool, default, "true or false"))

    def number(self, name: str) -> int:
        value = self._of(name, int, 0, "a number")
        if isinstance(value, bool) or not 0 <= value <= 65535:
            raise self._wrong(name, value, "a number from 0 to 65535")
        return int(value)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._of(name, list, [], "a list")
        if not all(isinstance(one, str) for one in value):
            raise self._wrong(name, value, "a list of texts")
        return tuple(value)

    def inner(self, name: str) -> "_Reader":
        value = self._document.get(name)
        return _Reader({} if value is None else value, self._path(name))

    def raw(self, name: str) -> Any:
        return self._document.get(name)

    def _of(self, name: str, kind: type, default: Any, said: str) -> Any:
        value = self._document.get(name)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise self._wrong(name, value, said)
        return value

    def _wrong(self, name: str, value: Any, said: str) -> CniError:
        return CniError(f"{self._path(name)}: must be {said}, not {json.dumps(value)}", BAD_CONFIG)

    def _path(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name


def parse_conf(stdin: bytes, is_named: bool = True) -> NetConf:
    """The network configuration. Raise CniError."""
    try:
        top = _Reader(json.loads(stdin or b"{}"))
    except ValueError as error:
        raise CniError(f"failed to load netconf: standard input is not JSON: {error}", BAD_JSON) from None
    version = top.text("cniVersion") or VERSIONS[0]
    if version not in VERSIONS:
        raise CniError(f"incompatible CNI versions: {version} is none of {', '.join(VERSIONS)}", INCOMPATIBLE)
    name = top.text("name")
    if is_named and not NETWORK_NAME.fullmatch(name):
        raise CniError(f"name {name!r}: a network's name is made of letters, digits, '_', '.' and '-'", BAD_CONFIG)
    _check_dataplane(top)
    return NetConf(
        version,
        name,
        top.text("profile") or name,
        top.text("type"),
        top.number("mtu") or DEFAULT_MTU,
        top.text("nodename") or top.text("hostname"),
        top.flag("nodename_file_optional"),
        _datastore(top),
        top.inner("policy").text("type"),
        top.inner("container_settings").flag("allow_ip_forwarding"),
        bool(top.inner("feature_control").flag("ip_addrs_no_ipam")),
        _ipam(top.inner("ipam")),
        _labels(top),
        parse_addresses(top.raw("prevResult")),
        _valid_attachments(top.raw("cni.dev/valid-attachments")),
    )


def _check_dataplane(top: _Reader) -> None:
    if top.raw("dataplane_options") is None:
        return
    kind = top.inner("dataplane_options").text("type")
    if kind != "linux":
        raise CniError(f"Invalid dataplane type: {kind}; leave dataplane_options out", BAD_CONFIG)


def _datastore(top: _Reader) -> dict[str, str]:
    found = {member: value for name, member in _DATASTORE.items() if (value := top.text(name))}
    authority = top.text("etcd_authority")
    if authority and "etcdEndpoints" not in found:
        found["etcdEndpoints"] = f"{top.text('etcd_scheme') or 'http'}://{authority}"
    return found


def _ipam(ipam: _Reader) -> IpamConf:
    return IpamConf(
        ipam.text("type"),
        ipam.flag("assign_ipv4", True),
        ipam.flag("assign_ipv6"),
        ipam.texts("ipv4_pools"),
        ipam.texts("ipv6_pools"),
    )


def _labels(top: _Reader) -> Mapping[str, str]:
    """Mesos' labels; what another runtime keeps in `args` is not looked at."""
    args = top.raw("args")
    mesos = args.get("org.apache.mesos") if isinstance(args, dict) else None
    labels = mesos
    for member in ("network_info", "labels", "labels"):
        labels = labels.get(member) if isinstance(labels, dict) else None
    return endpoint_labels(labels) if isinstance(labels, list) else {}


def parse_addresses(result: Any) -> tuple[str, ...]:
    """The addresses that an earlier result names, in either of its shapes."""
    if not isinstance(result, dict):
        return ()
    ips = result.get("ips")
    found = [one.get("address") for one in ips if isinstance(one, dict)] if isinstance(ips, list) else []
    found += [result[name].get("ip") for name in ("ip4", "ip6") if isinstance(result.get(name), dict)]
    return tuple(address for address in found if isinstance(address, str))


def _valid_attachments(listed: Any) -> tuple[Attachment, ...] | None:
    if not isinstance(listed, list):
        return None
    return tuple(
        Attachment(str(one.get("containerID", "")), str(one.get("ifname", "")))
        for one in listed
        if isinstance(one, dict)
    )
