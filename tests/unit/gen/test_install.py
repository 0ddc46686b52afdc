"""What goes into dcos_install.sh. tests/integration/test_preflight.py runs it."""

import shlex
from typing import Any

import pytest

from gen.install import BundleInfo, ports, render_install_script
from gen.parameters import defaults

BASE = {**defaults(), "cluster_name": "x", "bootstrap_url": "http://h:8000", "master_list": ["192.0.2.11"]}
BUNDLE = BundleInfo("b" * 64, "c" * 64, "d" * 64, "e" * 64)


def assigned(script: bytes, name: str) -> str:
    """The value a `readonly` line gives to `name`."""
    (line,) = (line for line in script.decode().splitlines() if line.startswith(f"readonly {name}="))
    (word,) = shlex.split(line.removeprefix(f"readonly {name}="))
    return word


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {("master", 2379), ("master", 2380), ("master", 2381), ("any", 62091), ("any", 64000)}),
        (
            {"calico_vxlan_enabled": False},
            {("master", 2379), ("master", 2380), ("master", 2381), ("any", 62091), ("any", 62092), ("any", 179)},
        ),
        ({"calico_enabled": False}, set()),
    ],
)
def test_the_ports_of_a_configuration(changed: dict[str, Any], expected: set[tuple[str, int]]) -> None:
    assert {(port.role, port.number) for port in ports({**BASE, **changed})} == expected


def test_the_bundles_digests() -> None:
    script = render_install_script(BASE, BUNDLE)
    assert [assigned(script, name) for name in BundleInfo._fields] == list(BUNDLE)


@pytest.mark.parametrize("url", ["http://h/it's", "http://h/$(id)", 'http://h/"`', "file:///a b\\"])
def test_a_value_is_one_word_of_shell(url: str) -> None:
    assert assigned(render_install_script({**BASE, "bootstrap_url": url}, BUNDLE), "bootstrap_url") == url


@pytest.mark.parametrize(
    ("changed", "needs"), [({}, "true"), ({"calico_etcd_tls": False}, "false"), ({"calico_enabled": False}, "false")]
)
def test_certificates_are_asked_for_when_etcd_has_tls(changed: dict[str, Any], needs: str) -> None:
    assert assigned(render_install_script({**BASE, **changed}, BUNDLE), "needs_pki") == needs


def test_equal_values_give_equal_bytes() -> None:
    assert render_install_script(BASE, BUNDLE) == render_install_script(dict(reversed(BASE.items())), BUNDLE)
