"""KubeControllersConfiguration: read, checked and kept for tools that expect it; nothing on DC/OS uses it."""

from collections.abc import Mapping
from typing import NamedTuple

from calico.model import formats
from calico.model.clusterinformation import only_default
from calico.model.resource import Definition
from calico.model.scalars import DURATION
from calico.model.schema import Choice, Member, Struct, TextMap

_SWITCH = Choice("Enabled", "Disabled")


class AutoHostEndpoint(NamedTuple):
    """Whether every node gets a host endpoint."""

    auto_create: str = ""


class NodeController(NamedTuple):
    """The controller that follows Kubernetes nodes; periods are in nanoseconds."""

    reconciler_period: int | None = None
    sync_labels: str = ""
    host_endpoint: AutoHostEndpoint | None = None


class PlainController(NamedTuple):
    """A controller with a period alone."""

    reconciler_period: int | None = None


class Controllers(NamedTuple):
    """None turns a controller off."""

    node: NodeController | None = None
    policy: PlainController | None = None
    workload_endpoint: PlainController | None = None
    service_account: PlainController | None = None
    namespace: PlainController | None = None


class KubeControllersConfigurationSpec(NamedTuple):
    """What the controllers do; `etcd_v3_compaction_period` is in nanoseconds."""

    log_severity_screen: str = ""
    health_checks: str = ""
    etcd_v3_compaction_period: int | None = None
    controllers: Controllers = Controllers()


class KubeControllersConfigurationStatus(NamedTuple):
    """What the controllers report."""

    running_config: KubeControllersConfigurationSpec = KubeControllersConfigurationSpec()
    environment_vars: Mapping[str, str] = {}


_PERIOD = Member("reconcilerPeriod", DURATION, optional=True)
_PLAIN = Struct(PlainController, (_PERIOD,))
_NODE = Struct(
    NodeController,
    (
        _PERIOD,
        Member("syncLabels", _SWITCH),
        Member("hostEndpoint", Struct(AutoHostEndpoint, (Member("autoCreate", _SWITCH),)), optional=True),
    ),
)
_CONTROLLERS = Struct(
    Controllers,
    (
        Member("node", _NODE, optional=True),
        Member("policy", _PLAIN, optional=True),
        Member("workloadEndpoint", _PLAIN, optional=True),
        Member("serviceAccount", _PLAIN, optional=True),
        Member("namespace", _PLAIN, optional=True),
    ),
)
SPEC = Struct(
    KubeControllersConfigurationSpec,
    (
        Member("logSeverityScreen", Choice("Debug", "Info", "Warning", "Error", "Fatal")),
        Member("healthChecks", _SWITCH),
        Member("etcdV3CompactionPeriod", DURATION, optional=True),
        Member("controllers", _CONTROLLERS, always=True),
    ),
)
STATUS = Struct(
    KubeControllersConfigurationStatus,
    (Member("runningConfig", SPEC, always=True), Member("environmentVars", TextMap())),
)

DEFINITION = Definition(SPEC, lambda name: formats.name(name) or only_default(name), STATUS)
