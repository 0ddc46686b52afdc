"""The table of kinds: names, aliases, scope, and the module that defines each. Only the kind asked for is loaded."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from calico.model.resource import Definition

API_VERSION = "projectcalico.org/v3"
PREFIXED = frozenset(("NetworkPolicy", "GlobalNetworkPolicy"))
"""Kinds whose stored name carries the prefix `default.`."""


class Kind(NamedTuple):
    """One kind of resource; `plural` is its name in etcd keys, `aliases` are calicoctl's words for it."""

    name: str
    plural: str
    namespaced: bool
    module: str
    aliases: tuple[str, ...]

    def definition(self) -> "Definition":
        """How the kind is read, checked and written; loads its module."""
        import importlib

        found: Definition = importlib.import_module(f"calico.model.{self.module}").DEFINITION
        return found


def _kind(name: str, module: str, aliases: str = "", plural: str = "", namespaced: bool = False) -> Kind:
    plural = plural or name.lower() + "s"
    return Kind(name, plural, namespaced, module, (name.lower(), plural, *aliases.split()))


_ALL = (
    _kind("BGPConfiguration", "bgpconfiguration", "bgpconfig bgpconfigs"),
    _kind("BGPPeer", "bgppeer", "bgpp bgpps bp bps"),
    _kind("ClusterInformation", "clusterinformation", "clusterinfo clusterinfos"),
    _kind("FelixConfiguration", "felixconfiguration", "felixconfig felixconfigs"),
    _kind("GlobalNetworkPolicy", "globalnetworkpolicy", "gnp gnps", "globalnetworkpolicies"),
    _kind("GlobalNetworkSet", "networkset", "gnetsets"),
    _kind("HostEndpoint", "hostendpoint", "hep heps"),
    _kind("IPPool", "ippool", "ipp ipps pool pools"),
    _kind(
        "KubeControllersConfiguration", "kubecontrollersconfiguration", "kubecontrollersconfig kubecontrollersconfigs"
    ),
    _kind("NetworkPolicy", "networkpolicy", "policy policies np pol pols", "networkpolicies", namespaced=True),
    _kind("NetworkSet", "networkset", "netsets", namespaced=True),
    _kind("Node", "node", "no nos"),
    _kind("Profile", "profile", "pro pros"),
    _kind("WorkloadEndpoint", "workloadendpoint", "wep weps", namespaced=True),
)

KINDS = {kind.name: kind for kind in _ALL}
BY_PLURAL = {kind.plural: kind for kind in _ALL}
_BY_ALIAS = {alias: kind for kind in _ALL for alias in kind.aliases}


def find(word: str) -> Kind | None:
    """The kind a user means by `word` (a name, a plural or an alias, in any case); None when there is none."""
    return _BY_ALIAS.get(word.lower())
