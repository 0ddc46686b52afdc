"""The command line itself: help, wrong options, unknown commands, log levels, how it ends."""

import pytest

from calico.calicoctl.cli import COMMANDS
from calico.datastore.errors import UnavailableError

from .conftest import Calicoctl


def test_help_lists_every_command_and_none_that_does_not_work_yet(calicoctl: Calicoctl) -> None:
    result = calicoctl("--help")
    assert result.code == 0
    assert all(f"    {name} " in result.out for name in COMMANDS)
    assert "node run" not in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(calicoctl: Calicoctl, name: str) -> None:
    result = calicoctl(*name.split(), "--help")
    assert (result.code, result.err) == (0, "")
    assert f"Example: calicoctl {name}" in result.out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("get", "--foo"), "unrecognized arguments: --foo"),
        (("apply",), "the following arguments are required: -f/--filename"),
        (("get",), "give either KIND or --filename"),
        (("get", "pool", "-f", "x"), "give either KIND or --filename, not both"),
        (("delete",), "give either KIND or --filename"),
        (("convert", "-f", "x", "-o", "xml"), "invalid choice"),
        (("--foo",), "unrecognized arguments: --foo"),
    ],
)
def test_a_wrong_option_is_answered_in_upstreams_words_and_the_reason(
    calicoctl: Calicoctl, words: tuple[str, ...], why: str
) -> None:
    result = calicoctl(*words)
    given = " ".join(("calicoctl", *words))
    assert result.code == 1
    assert result.out == f"Invalid option: '{given}'. Use flag '--help' to read about a specific subcommand.\n"
    assert why in result.err


def test_an_unknown_command(calicoctl: Calicoctl) -> None:
    result = calicoctl("aply", "-f", "x")
    assert result.code == 1
    assert result.out.startswith('Unknown command: "aply" (did you mean apply?)\nUsage: calicoctl')


@pytest.mark.parametrize("words", [("-l", "debug"), ("--log-level=info",), ("--log-level", "warn"), ("-lpanic",)])
def test_log_levels(calicoctl: Calicoctl, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logging.basicConfig", lambda **_options: None)
    assert calicoctl(*words, "get", "pool").code == 0


def test_an_unknown_log_level(calicoctl: Calicoctl) -> None:
    result = calicoctl("-l", "loud", "get", "pool")
    assert (result.code, result.err) == (1, "")
    assert result.out.startswith("Unknown log level: loud, expected one of: panic, fatal")


def test_a_configuration_that_cannot_be_used_is_told_on_standard_output(calicoctl: Calicoctl) -> None:
    assert calicoctl("get", "pool", "-c", "none.cfg").out == "Error reading config file: none.cfg\n"
    path = calicoctl.file("apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nspec: {}\n", "x.cfg")
    result = calicoctl("get", "pool", "-c", path)
    assert (result.code, result.out) == (1, "Failed to create Calico API client: no etcd endpoints specified\n")


@pytest.mark.parametrize(
    "words",
    [
        ("get", "pool"),
        ("get", "pool", "a"),
        ("get", "pool", "--watch"),
        ("delete", "pool", "a", "b"),
        ("patch", "pool", "a", "-p", "{}"),
        ("label", "pool", "a", "b=c"),
        ("version",),
        ("apply", "-f", "-"),
        ("diff", "-f", "-"),
    ],
)
def test_a_datastore_that_does_not_answer_ends_every_command_in_one_line(
    calicoctl: Calicoctl, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_arguments: object, **_options: object) -> None:
        raise UnavailableError("http://192.0.2.1:2379: no answer")

    for name in ("get", "pages", "commit", "watch"):
        monkeypatch.setattr(calicoctl.store, name, unavailable)
    text = "apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: p}\n"
    result = calicoctl(*words, stdin=text + "---\n" + text)
    assert result.code in (1, 2)
    assert result.err.count("http://192.0.2.1:2379: no answer") == 1
    assert "Traceback" not in result.err


def test_completion_offers_commands_kinds_and_options(calicoctl: Calicoctl) -> None:
    script = calicoctl("completion", "bash").out
    assert "complete -F _calicoctl calicoctl" in script
    for word in ("apply", "--dry-run", "ippool", "globalnetworkpolicies", "--all-namespaces"):
        assert word in script
