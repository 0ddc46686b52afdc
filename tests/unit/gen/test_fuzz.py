"""Whatever a file holds, validation answers with a report: no exception, a place for each problem, real JSON."""

import json
import os

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.annotate import annotate
from gen.parameters import DEFAULT_OVERLAY, TABLE
from gen.validate import known_keys, validate

_EXAMPLES = 50_000 if os.environ.get("DCOS_CALICO_SOAK") else 2_000

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.dates(),
    st.binary(max_size=4),
    st.ip_addresses().map(str),
    st.ip_addresses(v=4).map(lambda address: f"{address}/16"),
    st.sampled_from(
        ["yes", "010", "12:30:45", "1_450", "true", "1450", "::1", "9.0.0.0/8", "fd01::/64", "{", "[]", "[1"]
    ),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | _SCALARS, inner, max_size=3),
    max_leaves=5,
)
_OVERLAYS = st.fixed_dictionaries(
    {},
    optional={
        **{key: st.just(value) | _VALUES for key, value in DEFAULT_OVERLAY.items() if key != "overlays"},
        "overlays": _VALUES
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "name": st.sampled_from(["dcos", "dcos6", ""]) | _SCALARS,
                    "subnet": st.sampled_from(["9.0.0.0/8", "172.29.0.0/16"]) | _SCALARS,
                    "subnet6": st.sampled_from(["fd01:b::/64"]) | _SCALARS,
                    "prefix": st.integers(-1, 40) | _SCALARS,
                    "prefix6": st.integers(-1, 140) | _SCALARS,
                    "enabled": st.booleans() | _VALUES,
                },
            ),
            max_size=3,
        ),
    },
)
_KEYS = st.sampled_from([*TABLE, *sorted(known_keys())[:5], "x_mine", "ip_detect_file"]) | st.text(max_size=8)
_DOCUMENTS = st.dictionaries(_KEYS, _VALUES, max_size=4).flatmap(
    lambda made: _OVERLAYS.map(lambda overlay: {**made, "dcos_overlay_network": overlay}) | st.just(made)
)


def _check(text: str | bytes) -> None:
    report = validate(text, "fuzz.yaml")
    for problem in report.problems:
        assert problem.mark >= (1, 1)
        assert problem.message
        assert str(problem).isprintable()
    json.dumps(report.json(), allow_nan=False)
    report.text()
    annotate(text if isinstance(text, str) else text.decode("utf-8", "replace"), report)
    assert report.ok == (report.json()["status"] == "ok")
    if report.ok:
        assert set(report.values) == set(TABLE)


def _dump(value: object) -> str:
    return yaml.dump(value, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), allow_unicode=True)


@settings(max_examples=_EXAMPLES, deadline=None)
@given(_DOCUMENTS)
def test_any_document(document: object) -> None:
    _check(_dump(document))


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(list(TABLE)), _VALUES.map(repr) | _VALUES.map(_dump), max_size=6))
def test_any_value_as_text(document: dict[str, str]) -> None:
    _check(_dump(document))


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="ab:- \n\t[]{}&*!|>'\"%@`#?,.<0159~\u00e4\x00", max_size=60) | st.text(max_size=60))
def test_any_text(text: str) -> None:
    _check(text)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes(text: bytes) -> None:
    _check(text)
