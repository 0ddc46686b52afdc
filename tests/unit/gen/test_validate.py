"""Validation: the table of rules, positions, values, and the forms of a report."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gen.annotate import annotate
from gen.checks import CHECKS
from gen.checks.facts import Facts
from gen.parameters import DEFAULT_IP_DETECT, DEFAULT_OVERLAY, TABLE, defaults
from gen.problems import Finding, Mark, Problem, Report
from gen.validate import validate
from tests.unit.gen.cases import RULES, overlay, whole

_ACCEPTED = [(name, rule.is_raw, text) for name, rule in RULES.items() for text in rule.accepts]
_REFUSED = [(name, rule.is_raw, *each) for name, rule in RULES.items() for each in rule.refuses]
_TITLES = [f"{case[0]}-{number}" for number, case in enumerate(_REFUSED)]


def _report(text: str) -> Report:
    return validate(text, "c.yaml", ["no_such_key_allowed"])


def _only(text: str) -> Problem:
    (problem,) = _report(whole(text)).problems
    return problem


def test_table_is_large_and_two_sided() -> None:
    assert [name for name, rule in RULES.items() if not (rule.accepts and rule.refuses)] == []
    assert len({text for _, _, text, _ in _REFUSED} | {text for _, _, text in _ACCEPTED}) >= 300


@pytest.mark.parametrize(("rule", "is_raw", "text"), _ACCEPTED)
def test_accepted(rule: str, is_raw: bool, text: str) -> None:
    report = _report(text if is_raw else whole(text))
    assert report.problems == (), rule
    assert report.ok
    assert set(report.values) == set(TABLE)


@pytest.mark.parametrize(("rule", "is_raw", "text", "expected"), _REFUSED, ids=_TITLES)
def test_refused(rule: str, is_raw: bool, text: str, expected: str) -> None:
    report = _report(text if is_raw else whole(text))
    found = {f"{each.severity} {each.path} {each.code}" for each in report.problems}
    assert found == set(expected.split("; ")), rule
    assert report.ok == ("error" not in expected)


def test_every_cross_check_has_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    spoke = set()

    def watched(check: Callable[[Facts], Iterator[Finding]]) -> Callable[[Facts], Iterator[Finding]]:
        def run(facts: Facts) -> Iterator[Finding]:
            for finding in check(facts):
                spoke.add(check.__name__)
                yield finding

        return run

    monkeypatch.setattr("gen.checks.CHECKS", tuple(map(watched, CHECKS)))
    for _, is_raw, text, _ in _REFUSED:
        _report(text if is_raw else whole(text))
    # Giving the script twice needs a file to read: test_ip_detect_is_given_once.
    assert {check.__name__ for check in CHECKS} - spoke == {"one_ip_detect"}


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("calico_vxlan_vni: 1024", Mark(5, 19)),
        ("zzz:   1", Mark(5, 1)),
        ("agent_list:\n  - 10.0.0.1\n  -   junk", Mark(7, 7)),
        ("calico_veth_mtu: 1400\ncalico_veth_mtu: 1400", Mark(6, 1)),
        ("x: {'\u00e4\u00e4': 1, a: 1, a: 2}", Mark(5, 20)),
    ],
)
def test_position_of_a_problem(text: str, mark: Mark) -> None:
    report = _report(whole(text))
    assert mark in [problem.mark for problem in report.problems]


def test_key_left_out_stands_where_its_group_does() -> None:
    report = _report(whole("calico_network_cidr: 9.0.0.0/16"))
    assert {(each.path, each.mark) for each in report.problems} == {
        (path, Mark(4, 22))
        for path in (
            "calico_network_cidr",
            "dcos_overlay_network.overlays[0].subnet",
            "dcos_overlay_enable",
            "calico_enabled",
        )
    }
    assert report.text().count("\n") == 0


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("calico_network_cidr: 10.1.2.3/16", "write 10.1.0.0/16"),
        ("calico_network_cidr: 10.1.0.0/255.255.0.0", "write 10.1.0.0/16"),
        ("calico_network_cidr: 10.1.0.0", "write 10.1.0.0/16"),
        ("calico_network_cidr: ' 10.1.0.0/16'", "write 10.1.0.0/16"),
        ("calico_network_cidr: 010.1.0.0/16", "write 10.1.0.0/16"),
        ("calico_netwrok_cidr: 1", "did you mean calico_network_cidr?"),
        ("calico_enabled: 'yes'", "write true"),
        ("calico_vxlan_mtu: '1_400'", "write 1400"),
        ("calico_vxlan_mtu: 1_400", "write 1400, or '1_400' in quotes for text"),
        ("calico_vxlan_mtu: 01450", "write 1450, or '01450' in quotes for text"),
        ("calico_vxlan_mtu: 1500", "use at most 1450, unless every link has an MTU of 1550 or more"),
        ("calico_docker_network_scope: Local", "write local"),
    ],
)
def test_hint_names_the_corrected_form(text: str, hint: str) -> None:
    assert _only(text).hint == hint


def test_pool_message_shows_the_arithmetic() -> None:
    agents = ", ".join(f"192.0.2.{each}" for each in range(100, 105))
    report = _report(whole(f"calico_network_cidr: 10.0.0.0/24\nagent_list: [{agents}]"))
    assert (
        "a /24 holds 4 blocks of 64 addresses (/26), fewer than the 6 nodes listed (use a /23 or larger"
        in report.text()
    )


def test_defaults_fill_in_what_is_left_out() -> None:
    values = _report(whole("")).values
    given = {
        "cluster_name": "test",
        "bootstrap_url": "http://192.0.2.10:8000",
        "master_list": ["192.0.2.11"],
    }
    assert values == {**defaults(), **given}
    assert values["dcos_overlay_network"] == DEFAULT_OVERLAY
    assert values["ip_detect_contents"] == DEFAULT_IP_DETECT.read_text()


def test_strings_become_native_values() -> None:
    text = "calico_enabled: 'false'\ncalico_vxlan_mtu: '1400'\nresolvers: '[\"1.1.1.1\"]'\n" + overlay(
        without=("vtep_mtu",)
    )
    values = _report(whole(text)).values
    assert values["calico_enabled"] is False
    assert values["calico_vxlan_mtu"] == 1400
    assert values["resolvers"] == ["1.1.1.1"]
    assert values["dcos_overlay_network"] == DEFAULT_OVERLAY


def test_load_balancer_follows_the_ipv6_flag() -> None:
    assert _report(whole("enable_ipv6: false")).values["dcos_l4lb_enable_ipv6"] is False


def test_ip_detect_file_is_read_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ip-detect").write_text("#!/bin/sh\necho 192.0.2.11\n\n")
    report = validate(whole("ip_detect_filename: ip-detect"), str(tmp_path / "config.yaml"))
    assert report.problems == ()
    assert report.values["ip_detect_contents"] == "#!/bin/sh\necho 192.0.2.11\n"


@pytest.mark.parametrize("content", [b"echo hello", b"#!\xff", b"#!/bin/sh\0", b""])
def test_ip_detect_file_that_is_no_script(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ip-detect").write_bytes(content)
    report = validate(whole("ip_detect_filename: ip-detect"), str(tmp_path / "config.yaml"))
    assert [problem.path for problem in report.errors] == ["ip_detect_filename"]


def test_ip_detect_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "ip-detect").write_text("#!/bin/sh\n")
    text = whole("ip_detect_filename: ip-detect\nip_detect_contents: '#!/bin/sh'")
    report = validate(text, str(tmp_path / "config.yaml"))
    assert {problem.path for problem in report.errors} == {"ip_detect_filename", "ip_detect_contents"}


def test_json_form() -> None:
    report = _report(whole("calico_vxlan_vni: 1024\nx_me: 1\nmaster_list: [192.0.2.1, x]").replace("cluster_name", "#"))
    shape = report.json()
    assert shape["status"] == "errors"
    assert shape["unset"] == ["cluster_name"]
    assert shape["errors"]["calico_vxlan_vni"] == {"message": "1024 is the DC/OS overlay's network identifier"}
    assert shape["errors"]["master_list"]["message"].startswith("master_list[1]: 'x' is not an IPv4 address")
    assert set(shape["warnings"]) == {"x_me"}
    (vni,) = (each for each in shape["problems"] if each["key"] == "calico_vxlan_vni")
    assert vni == {
        "severity": "error",
        "file": "c.yaml",
        "line": 4,
        "column": 19,
        "key": "calico_vxlan_vni",
        "path": "calico_vxlan_vni",
        "code": "vni-taken",
        "value": 1024,
        "message": "1024 is the DC/OS overlay's network identifier",
        "hint": "use another, such as the default 4096",
    }
    assert json.loads(json.dumps(shape)) == shape


def test_json_form_without_problems() -> None:
    assert _report(whole("")).json() == {"status": "ok", "errors": {}, "unset": [], "warnings": {}, "problems": []}


def test_value_cannot_forge_a_line() -> None:
    report = _report(whole('"a\\nb.yaml:1:1: error: c\\e[31m": 1'))
    assert report.text().count("\n") == 0
    assert "\x1b" not in report.text()


def test_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLE, "calico_vxlan_vni", TABLE["calico_vxlan_vni"]._replace(secret=True))
    assert _only("calico_vxlan_vni: 1024").value == "**HIDDEN**"


def test_annotated_file_has_each_problem_below_its_line() -> None:
    text = whole("calico_vxlan_vni: 1024").replace("cluster_name", "# cluster_name")
    lines = annotate(text, _report(text)).splitlines()
    assert lines[0].startswith("# error: cluster_name: must be set")
    at = lines.index("5 | calico_vxlan_vni: 1024")
    assert lines[at + 1].startswith("  | " + " " * 18 + "^ error: calico_vxlan_vni: 1024 is the DC/OS")
    assert [line for line in lines if line[:1].isdigit()] == [
        f"{number} | {line}" for number, line in enumerate(text.splitlines(), 1)
    ]
