"""Where the datastore is and how to reach it: what upstream's clients take from the environment, and open it.

Each variable may carry the prefix `CALICO_`, which wins. `etcdPasswordFile` (`ETCD_PASSWORD_FILE`) is ours: it keeps
the password out of a file that is rendered, packaged and served.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from calico.datastore.store import Store


class SettingsError(Exception):
    """A configuration that cannot be used. `on_stdout`: upstream prints this one on standard output."""

    def __init__(self, text: str, on_stdout: bool = False) -> None:
        super().__init__(text)
        self.on_stdout = on_stdout


class Settings(NamedTuple):
    """How to reach etcd. Inline PEM and files exclude each other; `metadata` are headers of every call."""

    endpoints: tuple[str, ...] = ()
    discovery_srv: str = ""
    username: str = ""
    password: str = ""
    password_file: str = ""
    key_file: str = ""
    cert_file: str = ""
    ca_file: str = ""
    key: str = ""
    cert: str = ""
    ca: str = ""
    metadata: Mapping[str, str] = {}


MEMBERS = {
    "datastoreType": ("", "DATASTORE_TYPE"),
    "etcdEndpoints": ("endpoints", "ETCD_ENDPOINTS"),
    "etcdDiscoverySrv": ("discovery_srv", "ETCD_DISCOVERY_SRV"),
    "etcdUsername": ("username", "ETCD_USERNAME"),
    "etcdPassword": ("password", "ETCD_PASSWORD"),
    "etcdPasswordFile": ("password_file", "ETCD_PASSWORD_FILE"),
    "etcdKeyFile": ("key_file", "ETCD_KEY_FILE"),
    "etcdCertFile": ("cert_file", "ETCD_CERT_FILE"),
    "etcdCACertFile": ("ca_file", "ETCD_CA_CERT_FILE"),
    "etcdKey": ("key", ""),
    "etcdCert": ("cert", ""),
    "etcdCACert": ("ca", ""),
    "etcdCustomGRPCMetadata": ("metadata", "ETCD_CUSTOM_GRPC_METADATA"),
}
"""A CalicoAPIConfig's member -> the field of `Settings`, and the environment variable or nothing."""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """The settings that `environment` holds. Raises SettingsError."""
    values = {}
    for member, (_, variable) in MEMBERS.items():
        if variable and (value := environment.get(f"CALICO_{variable}") or environment.get(variable)):
            values[member] = value
    return from_members(values)


def from_members(members: Mapping[str, Any]) -> Settings:
    """The settings that a CalicoAPIConfig's members say. Raises SettingsError for what cannot be meant."""
    values = dict(members)
    kind = values.pop("datastoreType", "") or "etcdv3"
    if kind != "etcdv3":
        raise SettingsError(f"datastoreType {kind!r} is not supported: DC/OS keeps Calico's data in etcd (etcdv3)")
    fields: dict[str, Any] = {}
    for member, value in values.items():
        if value in (None, "", {}):
            continue
        fields[MEMBERS[member][0]] = _value(member, value)
    settings = Settings(**fields)
    if settings.endpoints and settings.discovery_srv:
        raise SettingsError(
            'multiple discovery or bootstrap options specified, use either "etcdEndpoints" or "etcdDiscoverySrv"'
        )
    if settings.discovery_srv:
        raise SettingsError("etcdDiscoverySrv is not supported; name the members in etcdEndpoints")
    if not settings.endpoints:
        raise SettingsError("no etcd endpoints specified")
    if (settings.key or settings.cert or settings.ca) and (settings.key_file or settings.cert_file or settings.ca_file):
        raise SettingsError("Cannot mix inline certificate-key and certificate / key files")
    return settings


def _value(member: str, value: Any) -> Any:
    if member == "etcdCustomGRPCMetadata":
        return _metadata(value)
    if not isinstance(value, str):
        raise SettingsError(f"{member} must be text, not {value!r}")
    if member == "etcdEndpoints":
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _metadata(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(key).lower(): str(text) for key, text in value.items()}
    pairs = [part.partition(":") for part in str(value).split(",") if part]
    if bad := [key for key, colon, _ in pairs if not colon]:
        raise SettingsError(f"ETCD_CUSTOM_GRPC_METADATA: {bad[0]!r} is not key:value")
    return {key.strip().lower(): text for key, _, text in pairs}


def open_store(settings: Settings) -> "Store":
    """The etcd cluster of `settings`. Raises DatastoreError for a URL or a file that is none."""
    from calico.datastore.etcd import Etcd, EtcdSettings

    return Etcd(
        EtcdSettings(
            settings.endpoints,
            ca_file=settings.ca_file or settings.ca,
            cert_file=settings.cert_file or settings.cert,
            key_file=settings.key_file or settings.key,
            username=settings.username,
            password=settings.password,
            password_file=settings.password_file,
            headers=tuple(settings.metadata.items()),
        )
    )
