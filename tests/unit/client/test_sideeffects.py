"""What writing a pool or a node, and deleting one, does beside the write."""

from typing import Any

import pytest

from calico.client.errors import ConflictError, NotFoundError
from calico.client.initialize import ensure_initialized
from calico.client.resources import Client
from calico.datastore.memory import MemoryStore
from calico.datastore.store import put
from calico.model.keys import BlockKey
from calico.model.problems import ModelError
from calico.model.resource import Resource, decode, with_metadata

AnyResource = Resource[Any]


def make(kind: str, name: str, namespace: str = "", **spec: Any) -> AnyResource:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return decode({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec})


def pool(name: str, cidr: str, **spec: Any) -> AnyResource:
    return make("IPPool", name, cidr=cidr, **spec)


class Recorder:
    """Allocations that only note what they were asked, and what stood in the store at that moment."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.client: Client | None = None

    def release_pool(self, cidr: str) -> None:
        assert self.client is not None
        (found,) = self.client.list("IPPool").items
        self.calls.append((f"pool, disabled={found.spec.disabled}", cidr))

    def release_addresses(self, addresses: tuple[str, ...]) -> None:
        assert self.client is not None
        self.calls.append((f"addresses of {len(self.client.list('WorkloadEndpoint').items)} endpoints", addresses))

    def release_node(self, node: str) -> None:
        assert self.client is not None
        self.calls.append((f"node with {len(self.client.list('WorkloadEndpoint').items)} endpoints", node))


@pytest.fixture
def allocations() -> Recorder:
    return Recorder()


@pytest.fixture
def client(allocations: Recorder) -> Client:
    client = Client(MemoryStore(), allocations)
    allocations.client = client
    return client


class TestPools:
    def test_defaults_are_written_back(self, client: Client) -> None:
        spec = client.create(pool("a", "172.29.0.0/16")).spec
        assert (spec.block_size, spec.node_selector, spec.ipip_mode, spec.vxlan_mode) == (26, "all()", "Never", "Never")
        assert client.create(pool("b", "fd00::/64")).spec.block_size == 122

    @pytest.mark.parametrize("cidr", ["172.29.0.0/16", "172.29.4.0/24", "172.0.0.0/8"])
    def test_overlapping_pools_are_refused(self, client: Client, cidr: str) -> None:
        client.create(pool("a", "172.29.0.0/16"))
        with pytest.raises(ModelError, match=r"IPPool\(b\) CIDR overlaps with IPPool\(a\) CIDR 172.29.0.0/16"):
            client.create(pool("b", cidr))

    def test_neighbouring_pools_are_fine(self, client: Client) -> None:
        client.create(pool("a", "172.29.0.0/16"))
        client.create(pool("b", "172.30.0.0/16"))
        client.create(pool("c", "fd00::/64"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [({"cidr": "172.30.0.0/16"}, "CIDR cannot be modified"), ({"blockSize": 28}, "BlockSize cannot be modified")],
    )
    def test_what_addresses_depend_on_stays(self, client: Client, change: dict[str, Any], message: str) -> None:
        client.create(pool("a", "172.29.0.0/16"))
        with pytest.raises(ModelError, match=message):
            client.apply(make("IPPool", "a", **{"cidr": "172.29.0.0/16", **change}))

    def test_everything_else_may_change(self, client: Client) -> None:
        client.create(pool("a", "172.29.0.0/16"))
        changed = client.apply(pool("a", "172.29.0.0/16", disabled=True, natOutgoing=True, nodeSelector="has(x)"))
        assert changed.resource.spec.disabled

    def test_blocks_of_another_size_are_in_the_way(self, client: Client) -> None:
        put(client.store, BlockKey("172.29.3.0/24").path, b"{}")
        with pytest.raises(ModelError, match="different blockSize"):
            client.create(pool("a", "172.29.0.0/16"))
        client.create(pool("a", "172.29.0.0/16", blockSize=24))
        client.create(pool("b", "172.30.0.0/16"))

    @pytest.mark.parametrize(
        ("mode", "flag"),
        [("ipipMode", "ipip_enabled"), ("vxlanMode", "vxlan_enabled")],
    )
    @pytest.mark.parametrize("value", ["Always", "CrossSubnet"])
    def test_encapsulation_is_turned_on(self, client: Client, mode: str, flag: str, value: str) -> None:
        client.create(pool("a", "172.29.0.0/16", **{mode: value}))
        assert getattr(client.get("FelixConfiguration", "default").spec, flag) is True

    def test_no_encapsulation_asks_for_nothing(self, client: Client) -> None:
        client.create(pool("a", "172.29.0.0/16"))
        with pytest.raises(NotFoundError):
            client.get("FelixConfiguration", "default")

    def test_a_flag_turned_off_stays_off_and_others_stay(self, client: Client) -> None:
        client.create(make("FelixConfiguration", "default", ipipEnabled=False, logSeverityScreen="Info"))
        client.create(pool("a", "172.29.0.0/16", ipipMode="Always"))
        client.create(pool("b", "172.30.0.0/16", vxlanMode="Always"))
        spec = client.get("FelixConfiguration", "default").spec
        assert (spec.ipip_enabled, spec.vxlan_enabled, spec.log_severity_screen) == (False, True, "Info")

    def test_an_update_turns_it_on_too(self, client: Client) -> None:
        client.create(pool("a", "172.29.0.0/16"))
        client.apply(pool("a", "172.29.0.0/16", vxlanMode="Always"))
        assert client.get("FelixConfiguration", "default").spec.vxlan_enabled is True

    def test_a_pool_is_disabled_before_it_is_released_and_deleted(self, client: Client, allocations: Recorder) -> None:
        client.create(pool("a", "172.29.0.0/16"))
        client.delete("IPPool", "a")
        assert allocations.calls == [("pool, disabled=True", "172.29.0.0/16")]
        assert client.list("IPPool").items == ()

    def test_a_pool_is_deleted_as_of_a_version(self, client: Client, allocations: Recorder) -> None:
        made = client.create(pool("a", "172.29.0.0/16"))
        newer = client.update(with_metadata(made, labels={"x": "1"}))
        with pytest.raises(ConflictError):
            client.delete("IPPool", "a", resource_version=made.metadata.resource_version)
        assert allocations.calls == []
        client.delete("IPPool", "a", resource_version=newer.metadata.resource_version)
        assert client.list("IPPool").items == ()


class TestNodes:
    def test_the_first_node_makes_the_cluster(self, client: Client) -> None:
        client.create(make("Node", "n1"))
        spec = client.get("ClusterInformation", "default").spec
        assert spec.datastore_ready is True
        assert len(spec.cluster_guid) == 32
        client.create(make("Node", "n2"))
        assert client.get("ClusterInformation", "default").spec == spec

    def test_a_locked_datastore_stays_locked(self, client: Client) -> None:
        client.create(make("ClusterInformation", "default", clusterGUID="g", datastoreReady=False))
        client.create(make("Node", "n1"))
        assert client.get("ClusterInformation", "default").spec.datastore_ready is False

    def test_a_deleted_node_takes_along_what_is_its_own(self, client: Client, allocations: Recorder) -> None:
        for node in ("n1", "n1x"):
            bgp = {"ipv4Address": "10.0.0.5/24", "ipv4IPIPTunnelAddr": "172.29.0.1"}
            client.create(make("Node", node, bgp=bgp, ipv4VXLANTunnelAddr="172.29.0.2"))
            client.create(self._endpoint(node))
            client.create(make("BGPPeer", f"p-{node}", node=node, peerIP="10.0.0.1", asNumber=64512))
            client.create(make("FelixConfiguration", f"node.{node}"))
            client.create(make("BGPConfiguration", f"node.{node}"))
        client.create(make("BGPPeer", "global", peerIP="10.0.0.1", asNumber=64512))
        client.delete("Node", "n1")
        assert allocations.calls == [
            ("addresses of 2 endpoints", ("172.29.12.65", "172.29.0.2", "172.29.0.1")),
            ("node with 1 endpoints", "n1"),
        ]
        kinds = ("Node", "WorkloadEndpoint", "BGPPeer", "FelixConfiguration", "BGPConfiguration")
        left = {kind: [item.metadata.name for item in client.list(kind).items] for kind in kinds}
        assert left == {
            "Node": ["n1x"],
            "WorkloadEndpoint": ["n1x-cni-c-eth0"],
            "BGPPeer": ["global", "p-n1x"],
            "FelixConfiguration": ["node.n1x"],
            "BGPConfiguration": ["node.n1x"],
        }

    def test_a_missing_node_takes_nothing_along(self, client: Client, allocations: Recorder) -> None:
        with pytest.raises(NotFoundError):
            client.delete("Node", "n1")
        assert allocations.calls == []

    def _endpoint(self, node: str) -> AnyResource:
        return decode(
            {
                "apiVersion": "projectcalico.org/v3",
                "kind": "WorkloadEndpoint",
                "metadata": {"namespace": "default"},
                "spec": {
                    "orchestrator": "cni",
                    "node": node,
                    "containerID": "c",
                    "endpoint": "eth0",
                    "ipNetworks": ["172.29.12.65/32"],
                    "interfaceName": "cali1",
                },
            }
        )


class TestInitialize:
    def test_what_is_missing_is_filled_in(self, client: Client) -> None:
        client.create(make("ClusterInformation", "default", clusterType="k8s,bgp"))
        ensure_initialized(client, "v3.14.0", "bgp,mesos")
        spec = client.get("ClusterInformation", "default").spec
        assert (spec.cluster_type, spec.calico_version, spec.datastore_ready) == ("k8s,bgp,mesos", "v3.14.0", True)
        assert spec.cluster_guid

    def test_nothing_is_written_when_nothing_changes(self, client: Client) -> None:
        ensure_initialized(client, "v3.14.0", "mesos")
        before = client.get("ClusterInformation", "default")
        ensure_initialized(client, "v3.14.0", "mesos")
        ensure_initialized(client)
        assert client.get("ClusterInformation", "default") == before

    def test_others_who_keep_changing_it_end_in_a_conflict(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lose(*_: object) -> None:
            raise ConflictError("ClusterInformation(default)")

        client.create(make("ClusterInformation", "default"))
        monkeypatch.setattr(Client, "replace", lose)
        pauses: list[float] = []
        with pytest.raises(ConflictError):
            ensure_initialized(client, sleep=pauses.append)
        assert 20 < len(pauses) < 40
