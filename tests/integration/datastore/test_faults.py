"""Members are killed, stopped, restarted, emptied and cut off: no update is lost, nothing stale is taken for fresh."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from calico.datastore import etcd as client_module
from calico.datastore.errors import (
    DatastoreError,
    IndeterminateError,
    PermissionDeniedError,
    ReplacedError,
    UnavailableError,
)
from calico.datastore.etcd import Etcd, EtcdSettings
from calico.datastore.store import Event, listing, put, remove
from tests.integration.datastore.conftest import settings_for
from tests.integration.datastore.watching import NOTICED_WITHIN, Observer
from tests.servers.certificates import Authority
from tests.servers.etcd import PASSWORD, USER, Cluster, Member, Place
from tests.servers.network import Network
from tests.unit.datastore.contract import collect

KEY = "/calico/test/a"


@pytest.fixture
def observing() -> Iterator[Callable[..., Observer]]:
    made: list[Observer] = []

    def start(settings: EtcdSettings, prefix: Sequence[str] = ()) -> Observer:
        made.append(Observer(settings, prefix))
        return made[-1]

    yield start
    for observer in made:
        observer.stop()


def member_at(cluster: Cluster, url: str) -> Member:
    return cluster.members[cluster.urls.index(url)]


class Writer:
    """Writes numbers to a few keys until stopped, and remembers what was acknowledged."""

    def __init__(self, client: Etcd) -> None:
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.acknowledged: list[Event] = []
        self.unknown: set[bytes] = set()
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            key, value = f"/calico/test/{number % 5}", b"%d" % number
            try:
                self.acknowledged.append(Event(key, value, put(self._client, key, value)))
            except IndeterminateError:
                self.unknown.add(value)
            except UnavailableError:
                pass
            self._stop.wait(0.005)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)


@pytest.fixture
def writing() -> Iterator[Callable[[Etcd], Writer]]:
    made: list[Writer] = []

    def start(client: Etcd) -> Writer:
        made.append(Writer(client))
        return made[-1]

    yield start
    for writer in made:
        writer.stop()


ROUNDS = 20 if os.environ.get("DCOS_CALICO_SOAK") else 1


class TestThreeMembers:
    """Faults of a cluster with TLS and users."""

    @pytest.mark.timeout(120 * ROUNDS)
    def test_no_write_is_lost_or_doubled_while_members_die(
        self,
        fresh: Callable[..., Cluster],
        clients: Callable[..., Etcd],
        writing: Callable[[Etcd], Writer],
    ) -> None:
        cluster = fresh(3, secure=True)
        reader = clients(cluster)
        start = put(reader, "/calico/test/start", b"")
        watch = reader.watch("/calico/test/", start)
        watch.next(0.5)
        writer = writing(clients(cluster))
        seen: list[Event] = []
        for _ in range(3 * ROUNDS):
            victim = member_at(cluster, watch.member)
            victim.kill()
            before = len(seen)
            until = time.monotonic() + NOTICED_WITHIN
            while len(seen) < before + 50 or not watch.connected:
                assert time.monotonic() < until, "the watch did not go on"
                seen += (watch.next(0.5) or (0, ()))[1]
            victim.start()
            cluster.wait()
        writer.stop()
        last = writer.acknowledged[-1].mod_revision
        while not seen or seen[-1].mod_revision < last:
            seen += (watch.next(5.0) or pytest.fail("the last writes did not come"))[1]
        revisions = [event.mod_revision for event in seen]
        assert revisions == sorted(set(revisions)), "doubled or out of order"
        assert [event for event in seen if event.value not in writer.unknown] == writer.acknowledged
        watch.close()

    @pytest.mark.timeout(120 * ROUNDS)
    def test_any_mix_of_faults_ends_in_the_state_of_the_store(
        self,
        fresh: Callable[..., Cluster],
        clients: Callable[..., Etcd],
        observing: Callable[..., Observer],
        writing: Callable[[Etcd], Writer],
    ) -> None:
        cluster, chance = fresh(3, secure=True), random.Random(ROUNDS)
        reader = clients(cluster, timeout=30.0)
        observer = observing(settings_for(cluster))
        observer.wait("first sync", 10, lambda: observer.synced and observer.member)
        writer = writing(clients(cluster, timeout=1.0))
        for fault in ["compact", "kill", "pause", *chance.choices(["compact", "kill", "pause"], k=3 * ROUNDS - 3)]:
            victim = chance.choice(cluster.members)
            if fault == "compact":
                cluster.root("compact", str(reader.get(KEY).revision))
            elif fault == "kill":
                victim.kill()
                time.sleep(chance.uniform(0, 1))
                victim.start()
            else:
                victim.pause()
                time.sleep(chance.uniform(0, 2))
                victim.resume()
            cluster.wait()
            remove(reader, f"/calico/test/{chance.randrange(5)}")
        writer.stop()
        end = put(reader, "/calico/test/end", b"end")
        observer.wait_for("end", "end")
        expected = {item.key: item.value.decode() for item in listing(reader, "/calico/test/").items}
        assert observer.state == expected
        assert observer.revisions[-1] == end

    def test_a_stopped_member_is_left_within_15_seconds(
        self, three: Cluster, clients: Callable[..., Etcd], observing: Callable[..., Observer]
    ) -> None:
        client = clients(three)
        put(client, KEY, b"1")
        observer = observing(settings_for(three))
        observer.wait("first sync", 10, lambda: observer.synced and observer.member)
        observer.wait_for("a", "1")
        victim = member_at(three, observer.member)
        victim.pause()
        try:
            begin = time.monotonic()
            while True:
                try:
                    put(client, KEY, b"2")
                    break
                except DatastoreError:
                    assert time.monotonic() - begin < NOTICED_WITHIN, "two members of three must serve writes"
            observer.wait_for("a", "2", NOTICED_WITHIN)
            assert time.monotonic() - begin < NOTICED_WITHIN
            assert observer.synced == 1, "a lost member is no reason to list again"
        finally:
            victim.resume()
            three.wait()

    def test_a_member_without_quorum_answers_nothing(
        self, fresh: Callable[..., Cluster], clients: Callable[..., Etcd]
    ) -> None:
        cluster = fresh(3)
        lonely = clients(cluster, timeout=1.5, endpoints=(cluster.urls[0],))
        put(lonely, KEY, b"1")
        cluster.members[1].kill()
        cluster.members[2].kill()
        with pytest.raises(UnavailableError):
            lonely.get(KEY)
        with pytest.raises((UnavailableError, IndeterminateError)):
            put(lonely, KEY, b"2")
        cluster.members[1].start()
        cluster.wait(cluster.members[:2])
        assert lonely.get(KEY).items[0].value in {b"1", b"2"}

    def test_reads_after_a_write_see_it_at_every_member(self, three: Cluster, clients: Callable[..., Etcd]) -> None:
        writer = clients(three)
        readers = [clients(three, endpoints=(url,)) for url in three.urls]
        for number in range(30):
            revision = put(writer, KEY, b"%d" % number)
            for reader in readers:
                found = reader.get(KEY)
                assert found.revision >= revision
                assert found.items[0].value == b"%d" % number


class TestCuts:
    """Cables pulled: a connection dies without a word."""

    @pytest.fixture
    def network(self) -> Iterator[Network]:
        network = Network(["m0", "m1", "m2", "client"], "dsfault")
        try:
            yield network.create()
        finally:
            network.remove()

    @pytest.fixture
    def cluster(self, network: Network, tmp_path: Path) -> Iterator[Cluster]:
        places = [Place(network.address(name), network.prefix(name)) for name in ("m0", "m1", "m2")]
        cluster = Cluster(tmp_path, places, secure=True)
        try:
            yield cluster.start()
        finally:
            cluster.stop()

    def test_the_stream_goes_on_behind_cut_cables(
        self, network: Network, cluster: Cluster, observing: Callable[..., Observer]
    ) -> None:
        user = f"{USER}:{PASSWORD}"
        cluster.ctl("put", KEY, "1", user=user)
        cluster.ctl("put", "/calico/test/b", "gone later", user=user)
        observer = observing(settings_for(cluster), network.prefix("client"))
        observer.wait("first sync", 10, lambda: observer.synced and observer.member)

        # The member that delivers is cut off from everybody; the other two go on.
        cut = f"m{cluster.urls.index(observer.member)}"
        network.cut(cut)
        time.sleep(1.5)  # an election
        others = [url for url in cluster.urls if url != observer.member]
        cluster.ctl_at(cluster.urls.index(others[0]), others, "put", KEY, "2", user=user)
        noticed = observer.wait_for("a", "2", NOTICED_WITHIN)
        assert noticed < NOTICED_WITHIN
        assert observer.synced == 1
        network.heal(cut)
        cluster.wait()

        # The client is cut off until its stream is dead; history is compacted meanwhile, so it must list again.
        network.cut("client")
        cluster.ctl("del", "/calico/test/b", user=user)
        cluster.ctl("put", KEY, "3", user=user)
        revision = cluster.ctl("get", KEY, "-w", "json", user=user).partition('"revision":')[2].partition(",")[0]
        cluster.root("compact", revision)
        used, begin = observer.cpu(), time.monotonic()
        time.sleep(12)
        share = (observer.cpu() - used) / (time.monotonic() - begin)
        assert share < 0.05, f"{share:.0%} of a core while etcd is out of reach"
        network.heal("client")
        observer.wait_for("b", None, NOTICED_WITHIN)
        observer.wait_for("a", "3", NOTICED_WITHIN)
        observer.wait("sync reached again", NOTICED_WITHIN, lambda: observer.synced == 2)


class TestDown:
    """The whole cluster is away."""

    def test_waiting_costs_nothing_and_ends(
        self, fresh: Callable[..., Cluster], clients: Callable[..., Etcd], observing: Callable[..., Observer]
    ) -> None:
        cluster = fresh()
        put(clients(cluster), KEY, b"1")
        observer = observing(settings_for(cluster))
        observer.wait_for("a", "1")
        observer.wait("connected", 5, lambda: observer.member)
        cluster.stop()
        observer.wait("the loss", 5, lambda: not observer.member)
        used, begin = observer.cpu(), time.monotonic()
        time.sleep(3)
        share = (observer.cpu() - used) / (time.monotonic() - begin)
        assert share < 0.05, f"{share:.0%} of a core while etcd is down"
        cluster.members[0].start()
        cluster.wait()
        put(clients(cluster), KEY, b"2")
        assert observer.wait_for("a", "2") < 6
        assert observer.synced == 1

    def test_a_start_before_etcd_ends_in_sync(
        self, fresh: Callable[..., Cluster], clients: Callable[..., Etcd], observing: Callable[..., Observer]
    ) -> None:
        cluster = fresh()
        put(clients(cluster), KEY, b"1")
        cluster.stop()
        observer = observing(settings_for(cluster, timeout=2.0))
        time.sleep(1)
        cluster.members[0].start()
        observer.wait_for("a", "1")

    def test_the_error_names_every_endpoint(self, clients: Callable[..., Etcd], fresh: Callable[..., Cluster]) -> None:
        cluster = fresh(3)
        cluster.stop()
        begin = time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            clients(cluster, timeout=1.0).get(KEY)
        assert time.monotonic() - begin < 2
        assert all(url in str(caught.value) for url in cluster.urls)
        assert "refused" in str(caught.value)
        assert "\n" not in str(caught.value)


class TestAnotherCluster:
    """What listens at the endpoint is not what was there before."""

    @pytest.fixture
    def cluster(self, fresh: Callable[..., Cluster]) -> Cluster:
        return fresh()

    @pytest.fixture
    def client(self, cluster: Cluster, clients: Callable[..., Etcd]) -> Etcd:
        client = clients(cluster, timeout=0.8)
        for _ in range(5):
            put(client, KEY, b"mine")
        return client

    def _rebuild(self, cluster: Cluster, tmp_path: Path, token: str) -> Cluster:
        """Another cluster at the same address, empty."""
        cluster.stop()
        home = tmp_path / "other"
        home.mkdir()
        places = [member.place for member in cluster.members]
        return Cluster(home, places, options=[f"--initial-cluster-token={token}"]).start()

    @pytest.mark.parametrize(
        ("token", "said"),
        [("etcd-cluster", "older than what was read before"), ("other", "a member of another cluster")],
        ids=["set back", "other id"],
    )
    def test_it_is_neither_believed_nor_written_to(
        self, cluster: Cluster, client: Etcd, clients: Callable[..., Etcd], tmp_path: Path, token: str, said: str
    ) -> None:
        other = self._rebuild(cluster, tmp_path, token)
        try:
            for _ in range(30 if token == "other" else 0):  # newer revisions do not make it ours
                put(clients(other), "/calico/test/b", b"theirs")
            for _ in range(2):
                with pytest.raises(UnavailableError, match=said):
                    client.get(KEY)
                with pytest.raises(UnavailableError):
                    put(client, KEY, b"lost")
            assert clients(other).get(KEY).items == ()
        finally:
            other.stop()

    def test_it_is_accepted_when_every_endpoint_insists(
        self, cluster: Cluster, client: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client_module, "REPLACED_AFTER", 1.0)
        watch = client.watch("/calico/", client.get(KEY).revision)
        watch.next(0.5)
        other = self._rebuild(cluster, tmp_path, "other")
        try:
            until = time.monotonic() + NOTICED_WITHIN
            with pytest.raises(ReplacedError):
                while time.monotonic() < until:
                    watch.next(0.5)
            assert listing(client, "/calico/").items == ()
        finally:
            watch.close()
            other.stop()

    def test_a_good_member_elsewhere_is_found_instead(
        self, cluster: Cluster, client: Etcd, fresh: Callable[..., Cluster], clients: Callable[..., Etcd]
    ) -> None:
        stranger = fresh(options=["--initial-cluster-token=stranger"])
        both = clients(cluster, timeout=5.0)
        both.get(KEY)
        wide = clients(cluster, timeout=5.0, endpoints=(stranger.urls[0], cluster.urls[0]))
        wide.identity.cluster, wide.identity.revision = both.identity.cluster, both.identity.revision
        for _ in range(4):
            assert wide.get(KEY).items[0].value == b"mine"
            put(wide, "/calico/test/b", b"x")
        assert clients(stranger).get("/calico/test/b").items == ()


class TestCredentials:
    """Users, tokens and certificates that change while a client runs."""

    @pytest.fixture
    def cluster(self, fresh: Callable[..., Cluster]) -> Cluster:
        return fresh(secure=True)

    def test_a_token_that_the_server_forgot_is_renewed(self, cluster: Cluster, clients: Callable[..., Etcd]) -> None:
        client = clients(cluster)
        watch = client.watch("/calico/", put(client, KEY, b"1"))
        watch.next(0.3)
        cluster.members[0].restart()  # simple tokens live in memory
        cluster.wait()
        put(client, KEY, b"2")
        assert [event.value for event in collect(watch, 1)] == [b"2"]

    def test_a_new_password_is_read_from_its_file(self, cluster: Cluster, clients: Callable[..., Etcd]) -> None:
        client = clients(cluster)
        put(client, KEY, b"1")
        cluster.root("user", "passwd", USER, "--interactive=false", stdin="another\n")
        (cluster.directory / "password").write_text("another\n")
        put(client, KEY, b"2")

    def test_a_wrong_password_is_said_at_once(self, cluster: Cluster, clients: Callable[..., Etcd]) -> None:
        begin = time.monotonic()
        with pytest.raises(PermissionDeniedError, match="authentication failed"):
            clients(cluster, password_file="", password="wrong").get(KEY)
        assert time.monotonic() - begin < 3

    def test_a_missing_password_file_is_named(self, cluster: Cluster, clients: Callable[..., Etcd]) -> None:
        with pytest.raises(PermissionDeniedError, match="/nowhere/password: No such file"):
            clients(cluster, password_file="/nowhere/password").get(KEY)

    def test_no_user_is_told_that_one_is_wanted(self, cluster: Cluster, clients: Callable[..., Etcd]) -> None:
        with pytest.raises(PermissionDeniedError, match="give a user"):
            clients(cluster, username="").get(KEY)

    def test_other_keys_are_refused(self, cluster: Cluster, clients: Callable[..., Etcd]) -> None:
        client = clients(cluster)
        with pytest.raises(PermissionDeniedError):
            put(client, "/other/key", b"1")
        watch = client.watch("/other/", 1)
        with pytest.raises(PermissionDeniedError):
            watch.next(5.0)
        watch.close()

    def test_a_certificate_with_a_common_name_is_explained(
        self, cluster: Cluster, clients: Callable[..., Etcd]
    ) -> None:
        certificate, key = cluster.authority.issue("named", common_name="felix")
        with pytest.raises(PermissionDeniedError, match="common name"):
            clients(cluster, cert_file=str(certificate), key_file=str(key)).get(KEY)

    def test_an_unknown_authority_is_named_as_the_reason(
        self, cluster: Cluster, clients: Callable[..., Etcd], tmp_path: Path
    ) -> None:
        stranger = Authority(tmp_path / "stranger", "a stranger")
        with pytest.raises(UnavailableError, match="unable to get local issuer certificate"):
            clients(cluster, timeout=1.0, ca_file=str(stranger.ca)).get(KEY)

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ({"ca_file": "/nowhere/ca.crt"}, "/nowhere/ca.crt: No such file"),
            ({"ca_file": "{dir}/password"}, "{dir}/password is not a certificate authority's PEM"),
            ({"key_file": "{dir}/pki/server.key"}, "{dir}/pki/client.crt and its key are not PEM, or do not belong"),
        ],
        ids=["missing", "not PEM", "wrong key"],
    )
    def test_unusable_files_are_named_at_once(
        self, cluster: Cluster, clients: Callable[..., Etcd], files: dict[str, str], message: str
    ) -> None:
        home = str(cluster.directory)
        begin = time.monotonic()
        with pytest.raises(DatastoreError) as caught:
            clients(cluster, **{name: path.format(dir=home) for name, path in files.items()}).get(KEY)
        assert message.format(dir=home) in str(caught.value)
        assert time.monotonic() - begin < 1

    def test_renewed_certificates_are_picked_up(self, cluster: Cluster, clients: Callable[..., Etcd]) -> None:
        client = clients(cluster)
        put(client, KEY, b"1")
        pki = cluster.directory / "pki"
        address = cluster.members[0].place.address
        successor = Authority(pki, "the next authority")
        successor.issue("client")
        successor.issue("server", (address,))
        cluster.members[0].restart()
        cluster.wait()
        put(client, KEY, b"2")

    def test_certificates_may_stand_in_the_settings_themselves(
        self, cluster: Cluster, clients: Callable[..., Etcd]
    ) -> None:
        pki = cluster.directory / "pki"
        texts = {f"{name}_file": (pki / path).read_text() for name, path in _PKI.items()}
        put(clients(cluster, **texts), KEY, b"1")

    def test_a_half_replaced_set_of_files_does_no_harm(self, cluster: Cluster, clients: Callable[..., Etcd]) -> None:
        client = clients(cluster)
        put(client, KEY, b"1")
        (cluster.directory / "pki/client.crt").write_text("half a certif")
        cluster.members[0].restart()
        cluster.wait_for_port(0)
        put(client, KEY, b"2")


_PKI = {"ca": "ca.crt", "cert": "client.crt", "key": "client.key"}
