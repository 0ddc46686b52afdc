"""A story's outcome, made by hand, for the tests of what shows it."""

from lab import marathon
from lab.plan import Counts, Plan, make_plan
from lab.reach import Cell
from lab.state import Endpoint
from lab.story import HOME, Outcome, Step
from lab.tasks import Task
from lab.trace import Trace

DENIED = Trace(False, "denied by ingress rule 2 of default/allow <bookstore>", "a trace\nof two lines & more")
ALLOWED = Trace(True, "allowed by the profile calico", "a trace")
_PLACES = {"bookstore-server": "agent2", "bookstore-frontend": "agent1", "fruitstore-frontend": "agent1"}


def plan() -> Plan:
    return make_plan(None, Counts())


def tasks() -> tuple[Task, ...]:
    apps = [marathon.read(HOME / f"{name}.json")[0] for name in _PLACES]
    return tuple(
        Task(app, _PLACES[app.name], f"0000000{number}-0000", f"answer{number}", f"172.29.0.{number}", True)
        for number, app in enumerate(apps)
    )


def cells(blocked: tuple[str, str] | None) -> tuple[Cell, ...]:
    names = list(_PLACES)
    pairs = [(source, destination) for source in names for destination in names if source != destination]
    return tuple(
        Cell(*pair, False, "wget: download timed out", DENIED) if pair == blocked else Cell(*pair, True, "id", ALLOWED)
        for pair in pairs
    )


def outcome(is_as_told: bool = True) -> Outcome:
    labels = {"biz_type": "bookstore", "role": "server"}
    endpoint = Endpoint("10.99.0.3-cni-0-eth0", "10.99.0.3", ("172.29.0.0",), "cali0", labels, ("calico",))
    policy = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "NetworkPolicy",
        "metadata": {"name": "allow-bookstore-cliient-to-server", "uid": "hidden-uid"},
        "spec": {"selector": "biz_type == 'bookstore'", "types": ["Ingress"]},
    }
    applied = Step("apply <the> policy", "calicoctl succeeds", "Successfully applied", True)
    steps = (applied, applied, Step("ask", "an answer", "none", is_as_told))
    blocked = ("fruitstore-frontend", "bookstore-server")
    return Outcome(steps, tasks(), (endpoint,), (policy,), cells(None), cells(blocked))
