"""The command `lab`, by the words of the tutorial and the guide: a lab outlives the command that made it, and
`lab down` removes it whatever happened before."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.commands.up import OWNER
from lab.instance import HOME
from tests.e2e.bundles import ROOT
from tests.e2e.traces import traces
from tests.samples import commands_of

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(600)]

_NAME = f"t{os.getpid()}"
_TUTORIAL = "docs/tutorial/bookstore.md"
_GUIDE = "docs/how-to/lab.md"
_PROGRAM = str(Path(sys.executable).parent / "lab")
# A lab of a test goes with the test: should this run be killed, the next one sweeps it away.
_ENVIRONMENT = {**os.environ, OWNER: str(os.getpid())}


def start(*words: str, cwd: Path = ROOT) -> "subprocess.Popen[str]":
    program = [_PROGRAM, words[0], "--name", _NAME, *words[1:]]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        program, env=_ENVIRONMENT, cwd=cwd, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    )


def lab(*words: str, status: int = 0, cwd: Path = ROOT) -> str:
    process = start(*words, cwd=cwd)
    said, wrong = process.communicate(timeout=500)
    assert process.returncode == status, f"lab {' '.join(words)}: {process.returncode}\n{said}{wrong}"
    return said + wrong


def as_written(lines: list[str], cwd: Path = ROOT) -> str:
    """Run lines of a page, each `lab ...`; what the last one said."""
    return [lab(*shlex.split(line)[1:], cwd=cwd) for line in lines][-1]


@pytest.fixture(autouse=True)
def taken_down(node_root: Path) -> Iterator[None]:
    yield
    lab("down")


def test_make_lab_plays_the_story_and_leaves_nothing(node_root: Path) -> None:
    for line in (*commands_of("README.md", "make lab"), *commands_of(_TUTORIAL, "make lab")):
        assert line == "make lab"
    # The virtual environment is the one that runs the tests.
    words = ["make", "-o", ".venv/.bundle", "lab", f"LAB={_NAME}"]
    done = subprocess.run(words, cwd=ROOT, env=_ENVIRONMENT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it went as the README tells" in done.stdout
    assert traces(f"dcl-{_NAME}") == []


def test_a_lab_by_the_words_of_tutorial_and_guide_stays_until_down(node_root: Path, tmp_path: Path) -> None:
    play_the_tutorial(tmp_path)
    follow_the_guide()
    kill_and_reboot()
    (down,) = commands_of(_TUTORIAL, "lab down")
    assert commands_of(_GUIDE, "lab down") == [down]
    as_written([down])
    assert traces(f"dcl-{_NAME}") == []
    assert "no lab" in lab("status", status=1)


def play_the_tutorial(directory: Path) -> None:
    up, status = (*commands_of(_TUTORIAL, "lab up"), *commands_of(_TUTORIAL, "lab status"))
    *looks, removal, question = commands_of(_TUTORIAL, "lab exec")
    as_written([up, status, *commands_of(_TUTORIAL, "lab story")], directory)
    assert "fruitstore-frontend" in (directory / "bookstore.html").read_text()
    as_written([*looks, removal])
    # felix takes a moment to let the answer through; a reader takes longer to type.
    time.sleep(2)
    assert as_written([question]).strip()
    assert [up] == commands_of(_GUIDE, "lab up") and [status] == commands_of(_GUIDE, "lab status")


def follow_the_guide() -> None:
    as_written(commands_of(_GUIDE, "lab run"))
    answer, endpoints = (as_written([line]) for line in commands_of(_GUIDE, "lab exec"))
    assert answer.strip()
    assert endpoints.count(" 172.29.") == 5, "three of the story, two of the guide"


def kill_and_reboot() -> None:
    assert "already" in lab("up", status=1)
    assert lab("exec", "agent1", "--", "hostname").strip() == "agent1"
    assert "calicoctl" in lab("exec", "master1", "calicoctl", "--help")
    lab("exec", "agent1", "--", "sh", "-c", "exit 7", status=7)
    lab("kill", "agent1")
    ill = json.loads(lab("status", "--format", "json", status=1))
    on = {node["name"]: node["on"] for node in ill["nodes"]}
    assert on == {"master1": True, "agent1": False, "agent2": True}
    lab("reboot", "agent1")
    well = json.loads(lab("status", "--format", "json"))
    assert "dcos-etcd.service" in well["nodes"][0]["units"]["active"]
    lab("kill", "etcd")
    assert "dcos-etcd" in lab("logs", "master1", "etcd")


def _has(pattern: str) -> Callable[[], bool]:
    return lambda: any(HOME.glob(f"dcl-{_NAME}/{pattern}"))


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


_MOMENTS = {
    "the network is being made": lambda: _has("disk/master1/root"),
    "nodes boot": lambda: _has("disk/*/power"),
    "a node is being installed": lambda: _has("disk/master1/up/opt/mesosphere"),
}
_RANDOM = [random.uniform(0.3, 15) for _ in range(7 if os.environ.get("DCOS_CALICO_SOAK") else 0)]


def kill_when(is_reached: Callable[[], bool]) -> None:
    """Kill a `lab up` at a moment; what it started and nobody ends stays."""
    process = start("up", "--agents", "1")
    wait_for(is_reached, process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


def wait_for(is_reached: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 300
    while not (reached := is_reached()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert reached or process.poll() == 0, process.communicate()


@pytest.mark.parametrize("moment", _MOMENTS)
def test_a_killed_up_leaves_nothing_after_down(moment: str) -> None:
    kill_when(_MOMENTS[moment]())
    assert "did not come up" in lab("status", status=1)
    lab("down")
    assert traces(f"dcl-{_NAME}") == []


@pytest.mark.parametrize("seconds", _RANDOM)
def test_an_up_killed_whenever_leaves_nothing_after_down(seconds: float) -> None:
    kill_when(_after(seconds))
    lab("down")
    assert traces(f"dcl-{_NAME}") == []


def test_down_ends_an_up_that_runs() -> None:
    process = start("up", "--agents", "1")
    wait_for(_has("disk/*/power"), process)
    lab("down")
    assert process.wait(30) == -signal.SIGKILL
    process.communicate()
    assert traces(f"dcl-{_NAME}") == []
