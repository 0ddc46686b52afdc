"""Endpoints: what is a URL, what names stand for, which member is tried first."""

import socket
from typing import Any

import pytest

from calico.datastore.endpoints import Endpoints
from calico.datastore.errors import DatastoreError


@pytest.mark.parametrize(
    ("url", "host", "port", "secure"),
    [
        ("http://10.0.0.1:2379", "10.0.0.1", 2379, False),
        ("https://10.0.0.1", "10.0.0.1", 2379, True),
        ("https://[fd00::1]:12379/", "fd00::1", 12379, True),
    ],
)
def test_a_url(url: str, host: str, port: int, secure: bool) -> None:
    (address,) = Endpoints([url]).addresses()
    assert (address.host, address.port, address.secure) == (host, port, secure)
    assert address.sockaddr[:2] == (host, port)


@pytest.mark.parametrize(
    "url",
    ["", "10.0.0.1:2379", "ftp://10.0.0.1", "http://", "http://a:0", "http://a:65536", "http://a b", "http://u:p@a:1"],
)
def test_what_is_no_url_is_named(url: str) -> None:
    with pytest.raises(DatastoreError, match="write http://HOST:PORT"):
        Endpoints([url])


def test_no_endpoint_at_all() -> None:
    with pytest.raises(DatastoreError, match="no etcd endpoints specified"):
        Endpoints([])


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        if host not in table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in table[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return table


def test_a_name_of_several_masters_is_several_members(names: dict[str, list[str]]) -> None:
    names["masters"] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    addresses = Endpoints(["http://masters:2379"]).addresses()
    assert sorted(address.sockaddr[0] for address in addresses) == names["masters"]
    assert addresses[0].url == "http://masters:2379 (10.0.0.1)"


def test_a_name_that_is_unknown_is_told_and_asked_for_again(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("calico.datastore.endpoints.time.monotonic", lambda: now[0])
    names["a"] = ["10.0.0.1"]
    endpoints = Endpoints(["http://a:1", "http://b:1"])
    assert len(endpoints.addresses()) == 1
    assert endpoints.unresolved() == {"http://b:1": "http://b:1: Name or service not known"}
    names["b"] = ["10.0.0.2"]
    assert len(endpoints.addresses()) == 1
    now[0] += 1.1
    assert len(endpoints.addresses()) == 2
    assert endpoints.unresolved() == {}


def test_moved_names_are_followed(names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("calico.datastore.endpoints.time.monotonic", lambda: now[0])
    names["a"] = ["10.0.0.1"]
    endpoints = Endpoints(["http://a:1"])
    endpoints.addresses()
    names["a"] = ["10.0.0.9"]
    now[0] += 31
    assert [address.sockaddr[0] for address in endpoints.addresses()] == ["10.0.0.9"]


def test_who_answers_comes_first_and_who_fails_last() -> None:
    endpoints = Endpoints([f"http://10.0.0.{number}:2379" for number in range(1, 5)])
    first, second, third, fourth = endpoints.addresses()
    endpoints.prefer(third)
    assert endpoints.addresses() == [third, first, second, fourth]
    endpoints.avoid(third)
    assert endpoints.addresses() == [first, second, fourth, third]


def test_clients_do_not_all_begin_at_the_same_member() -> None:
    urls = [f"http://10.0.0.{number}:2379" for number in range(1, 4)]
    assert len({Endpoints(urls).addresses()[0] for _ in range(60)}) == 3
