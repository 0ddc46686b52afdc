"""Where the datastore is: `calicoctl.cfg`, or the environment where there is no such file.

Upstream's rule is kept: when the file exists the environment is not looked at. Each variable may carry the prefix
`CALICO_`, which wins. `etcdPasswordFile` (`ETCD_PASSWORD_FILE`) is ours: it keeps the password out of a file that is
rendered, packaged and served.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

DEFAULT_PATH = "/etc/calico/calicoctl.cfg"


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


# member of the file's spec -> (field, environment variable or "")
_MEMBERS = {
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


def load(path: str, environment: Mapping[str, str]) -> Settings:
    """The settings of the file at `path`, or of `environment` where the default file does not exist.

    Raises SettingsError for a file that is missing (other than the default), unreadable or wrong, and for settings that
    contradict each other.
    """
    if os.path.exists(path):
        return _checked(_from_file(path))
    if path != DEFAULT_PATH:
        raise SettingsError(f"Error reading config file: {path}", on_stdout=True)
    return _checked(_from_environment(environment))


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for member, (_, variable) in _MEMBERS.items():
        if variable and (value := environment.get(f"CALICO_{variable}") or environment.get(variable)):
            values[member] = value
    return values


def _from_file(path: str) -> dict[str, Any]:
    from calico.calicoctl.documents import DocumentError, read

    try:
        documents = read([path], None)
    except DocumentError as error:
        raise SettingsError(str(error)) from None
    if len(documents) != 1:
        raise SettingsError(f"{path}: holds {len(documents)} documents; it must be one CalicoAPIConfig")
    (document,) = documents
    for member, expected in (("apiVersion", "projectcalico.org/v3"), ("kind", "CalicoAPIConfig")):
        found = repr(document.data[member]) if member in document.data else "missing"
        if document.data.get(member) != expected:
            raise SettingsError(f"{document.where}: {member} is {found}; it must be {expected}")
    spec = document.data.get("spec") or {}
    unknown = [name for name in spec if name not in _MEMBERS] if isinstance(spec, Mapping) else ["spec"]
    if unknown:
        line = document.lines.get(("spec", unknown[0]), document.line)
        raise SettingsError(f"{path}:{line}: unknown member {unknown[0]}; there are: {', '.join(_MEMBERS)}")
    return dict(spec)


def _checked(values: dict[str, Any]) -> Settings:
    kind = values.pop("datastoreType", "") or "etcdv3"
    if kind != "etcdv3":
        raise SettingsError(f"datastoreType {kind!r} is not supported: DC/OS keeps Calico's data in etcd (etcdv3)")
    fields: dict[str, Any] = {}
    for member, value in values.items():
        if value in (None, "", {}):
            continue
        fields[_MEMBERS[member][0]] = _value(member, value)
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
