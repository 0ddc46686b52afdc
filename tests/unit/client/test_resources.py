"""The typed client on the in-memory store: guards, conflicts, what upstream's store looks like, lost answers."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from calico.client.errors import AlreadyExistsError, ConflictError, NotFoundError, ResourceError, UnsupportedError
from calico.client.resources import Client
from calico.datastore.errors import IndeterminateError
from calico.datastore.memory import MemoryStore
from calico.datastore.store import Delete, Guard, Operation, Outcome, Put, put
from calico.model.problems import ModelError
from calico.model.resource import Resource, decode, encode, with_metadata

AnyResource = Resource[Any]
ROOT = "/calico/resources/v3/projectcalico.org/"


def make(kind: str, name: str = "a", namespace: str = "", **spec: Any) -> AnyResource:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return decode({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec})


class LossyStore(MemoryStore):
    """Loses the answer of the next write, after or instead of doing it."""

    def __init__(self) -> None:
        super().__init__()
        self.lose: str = ""
        self.transactions: list[tuple[Sequence[Guard], Sequence[Operation]]] = []

    def commit(
        self, guards: Sequence[Guard], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Outcome:
        lose, self.lose = self.lose, ""
        self.transactions.append((guards, then))
        if lose != "before":
            outcome = super().commit(guards, then, otherwise)
        if lose:
            raise IndeterminateError("no answer")
        return outcome


@pytest.fixture
def store() -> LossyStore:
    return LossyStore()


@pytest.fixture
def client(store: LossyStore) -> Client:
    return Client(store)


def stored(store: MemoryStore, key: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(store.get(ROOT + key).items[0].value)
    return document


def test_a_created_resource_is_stored_in_upstreams_shape(client: Client, store: LossyStore) -> None:
    made = client.create(make("NetworkPolicy", "web", "prod", selector="all()"))
    document = stored(store, "networkpolicies/prod/default.web")
    assert document["metadata"]["name"] == "default.web"
    assert "resourceVersion" not in document["metadata"]
    assert document["metadata"]["uid"] == made.metadata.uid
    assert len(made.metadata.uid) == 36
    assert document["spec"] == {"selector": "all()", "types": ["Ingress"]}
    assert made.metadata.resource_version == str(store.get(ROOT).revision)
    assert client.get("NetworkPolicy", "web", "prod") == made


def test_a_creation_time_is_upstreams_text(client: Client) -> None:
    made = client.create(make("Profile"))
    assert made.metadata.creation_timestamp is not None
    assert len(made.metadata.creation_timestamp) == len("2020-05-06T10:11:12Z")
    assert made.metadata.creation_timestamp.endswith("Z")


def test_creating_twice_is_refused(client: Client) -> None:
    client.create(make("Profile"))
    with pytest.raises(AlreadyExistsError, match=r"resource already exists: Profile\(a\)"):
        client.create(make("Profile"))


def test_creating_with_a_version_is_refused(client: Client) -> None:
    with pytest.raises(ModelError, match="resourceVersion"):
        client.create(with_metadata(make("Profile"), resource_version="3"))


def test_nothing_invalid_is_written(client: Client, store: LossyStore) -> None:
    before = store.get("/").revision
    with pytest.raises(ModelError):
        client.create(make("IPPool", cidr="10.0.0.1/16"))
    with pytest.raises(ModelError):
        client.create(make("NetworkPolicy", "web"))
    assert store.get("/").revision == before


def test_what_is_missing_is_named(client: Client) -> None:
    with pytest.raises(NotFoundError, match=r"^resource does not exist: NetworkPolicy\(prod/web\)$"):
        client.get("NetworkPolicy", "web", "prod")
    with pytest.raises(NotFoundError):
        client.delete("Profile", "a")
    with pytest.raises(NotFoundError):
        client.replace(make("Profile"))


def test_an_update_wants_what_was_read(client: Client) -> None:
    made = client.create(make("Profile"))
    changed = client.update(made._replace(spec=make("Profile", labelsToApply={"x": "1"}).spec))
    assert int(changed.metadata.resource_version) > int(made.metadata.resource_version)
    with pytest.raises(ConflictError, match=r"update conflict: Profile\(a\)"):
        client.update(made)
    assert client.get("Profile", "a") == changed


def test_an_update_of_what_is_gone_is_not_a_conflict(client: Client) -> None:
    made = client.create(make("Profile"))
    client.delete("Profile", "a")
    with pytest.raises(NotFoundError):
        client.update(made)


def test_an_update_names_every_member_it_lacks(client: Client) -> None:
    with pytest.raises(ModelError) as caught:
        client.update(make("Profile"))
    assert [problem.path[-1] for problem in caught.value.problems] == ["resourceVersion", "creationTimestamp", "uid"]


def test_a_version_that_is_none_is_refused(client: Client) -> None:
    made = client.create(make("Profile"))
    with pytest.raises(ModelError, match="not a revision"):
        client.update(with_metadata(made, resource_version="latest"))


def test_replace_keeps_uid_and_birth(client: Client) -> None:
    made = client.create(make("Profile"))
    replaced = client.replace(with_metadata(make("Profile"), uid="other", creation_timestamp="2001-01-01T00:00:00Z"))
    assert replaced.metadata.uid == made.metadata.uid
    assert replaced.metadata.creation_timestamp == made.metadata.creation_timestamp


def test_an_exported_resource_is_restored_but_not_over_a_newer_one(client: Client) -> None:
    export = with_metadata(make("Profile"), uid="u", creation_timestamp="2020-05-06T10:11:12Z", resource_version="99")
    first = client.apply(export)
    assert first.created
    assert first.resource.metadata.uid == "u"
    with pytest.raises(ConflictError):
        client.apply(export)
    again = client.apply(with_metadata(export, resource_version=""))
    assert not again.created


def test_delete_as_of_a_version(client: Client) -> None:
    made = client.create(make("Profile"))
    newer = client.update(made)
    with pytest.raises(ConflictError):
        client.delete("Profile", "a", resource_version=made.metadata.resource_version)
    assert client.delete("Profile", "a", resource_version=newer.metadata.resource_version) == newer


def test_a_broken_value_can_be_deleted(client: Client, store: LossyStore) -> None:
    put(store, ROOT + "profiles/a", b"{")
    with pytest.raises(ModelError, match="profiles/a: the stored value is not a JSON object"):
        client.get("Profile", "a")
    assert client.delete("Profile", "a") is None
    assert store.get(ROOT + "profiles/a").items == ()


def test_a_list_is_of_one_revision_and_leaves_out_what_is_broken(client: Client, store: LossyStore) -> None:
    client.create(make("NetworkSet", "b", "x", nets=["10.0.0.0/8"]))
    client.create(make("NetworkSet", "a", "y"))
    put(store, ROOT + "networksets/x/broken", b"[]")
    found = client.list("NetworkSet")
    assert [(item.metadata.namespace, item.metadata.name) for item in found.items] == [("x", "b"), ("y", "a")]
    assert found.unreadable == 1
    assert found.revision == store.get("/").revision
    assert [item.metadata.name for item in client.list("NetworkSet", "y").items] == ["a"]


def test_the_past_can_be_listed(client: Client) -> None:
    made = client.create(make("Profile", "a"))
    client.create(make("Profile", "b"))
    then = client.list("Profile", revision=int(made.metadata.resource_version))
    assert [item.metadata.name for item in then.items] == ["a", "projectcalico-default-allow"]


class TestDefaultAllow:
    NAME = "projectcalico-default-allow"

    def test_it_is_always_there_and_last(self, client: Client) -> None:
        client.create(make("Profile", "zzz"))
        assert [item.metadata.name for item in client.list("Profile").items] == ["zzz", self.NAME]
        document = encode(client.get("Profile", self.NAME))
        assert document["spec"]["ingress"] == [{"action": "Allow", "source": {}, "destination": {}}]
        assert document["metadata"]["resourceVersion"] == "0"
        assert document["metadata"]["creationTimestamp"] is None

    def test_it_cannot_be_changed(self, client: Client, store: LossyStore) -> None:
        with pytest.raises(AlreadyExistsError):
            client.create(make("Profile", self.NAME))
        operations: list[Callable[[], object]] = [
            lambda: client.update(make("Profile", self.NAME)),
            lambda: client.apply(make("Profile", self.NAME)),
            lambda: client.delete("Profile", self.NAME),
        ]
        for operation in operations:
            with pytest.raises(UnsupportedError, match="is not supported on Profile"):
                operation()
        assert store.transactions == []


class TestLostAnswers:
    def test_a_creation_that_happened_is_found(self, client: Client, store: LossyStore) -> None:
        store.lose = "after"
        made = client.create(make("Profile"))
        assert client.get("Profile", "a") == made

    def test_a_creation_that_somebody_else_won_is_theirs(self, client: Client, store: LossyStore) -> None:
        client.create(make("Profile"))
        store.lose = "after"
        with pytest.raises(AlreadyExistsError):
            client.create(make("Profile"))

    def test_an_update_that_happened_is_found(self, client: Client, store: LossyStore) -> None:
        made = client.create(make("Profile"))
        store.lose = "after"
        changed = client.update(with_metadata(made, labels={"x": "1"}))
        assert client.get("Profile", "a") == changed

    def test_a_deletion_that_happened_is_found(self, client: Client, store: LossyStore) -> None:
        client.create(make("Profile"))
        store.lose = "after"
        assert client.delete("Profile", "a") is None

    @pytest.mark.parametrize("operation", ["create", "update", "delete"])
    def test_what_may_still_happen_is_not_called_done(self, client: Client, store: LossyStore, operation: str) -> None:
        made = make("Profile") if operation == "create" else client.create(make("Profile"))
        store.lose = "before"
        with pytest.raises(IndeterminateError):
            client.delete("Profile", "a") if operation == "delete" else getattr(client, operation)(made)


def test_guards_are_upstreams(client: Client, store: LossyStore) -> None:
    made = client.create(make("Profile"))
    changed = client.update(made)
    client.delete("Profile", "a", resource_version=changed.metadata.resource_version)
    client.create(make("Profile"))
    client.delete("Profile", "a")
    key = ROOT + "profiles/a"
    assert [list(guards) for guards, _ in store.transactions] == [
        [Guard(key, 0)],
        [Guard(key, int(made.metadata.resource_version))],
        [Guard(key, int(changed.metadata.resource_version))],
        [Guard(key, 0)],
        [],
    ]
    operations = [[(type(one), one.key) for one in then] for _, then in store.transactions]
    assert operations == [[(Put, key)], [(Put, key)], [(Delete, key)], [(Put, key)], [(Delete, key)]]


def test_a_watch_tells_what_was_there_and_what_changes(client: Client) -> None:
    made = client.create(make("NetworkSet", "a", "x"))
    changes = client.watch("NetworkSet", tick=0.0)
    seen = [change for change in (next(changes) for _ in range(4)) if change]
    assert [(change.type, change.resource) for change in seen] == [("ADDED", made), ("SYNCED", None)]
    changed = client.update(with_metadata(made, labels={"x": "1"}))
    client.create(make("NetworkSet", "b", "y"))
    client.delete("NetworkSet", "a", "x")
    seen = [change for change in (next(changes) for _ in range(5)) if change]
    assert [change.type for change in seen] == ["MODIFIED", "ADDED", "DELETED"]
    assert seen[0].resource == changed
    assert seen[2].resource == changed


def test_errors_are_one_line() -> None:
    for error in (AlreadyExistsError("X(a)"), NotFoundError("X(a)"), ConflictError("X(a)")):
        assert isinstance(error, ResourceError)
        assert "\n" not in str(error)
        assert "X(a)" in str(error)
