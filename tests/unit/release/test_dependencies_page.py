"""docs/reference/dependencies.md has a line for each dependency, and none for what is no longer one."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_ROW = re.compile(r"^\| `([^`]+)` \|(.*)\|$", re.MULTILINE)


def explained() -> dict[str, str]:
    text = (ROOT / "docs/reference/dependencies.md").read_text()
    return dict(_ROW.findall(text))


def required() -> set[str]:
    lines = [line.strip() for path in (ROOT / "requirements").glob("*.in") for line in path.read_text().splitlines()]
    return {line.partition("[")[0] for line in lines if line and not line.startswith(("#", "-"))}


def sources() -> dict[str, set[str]]:
    """Each fetched source, with the packages it is a source of."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "packages").glob("*/buildinfo.json"):
        for source in json.loads(path.read_text()).get("sources", {}).values():
            if name := source.get("package") or source.get("project"):
                found.setdefault(name, set()).add(path.parent.name)
    return found


def test_each_dependency_has_its_line_and_nothing_else_has_one() -> None:
    assert explained().keys() == required() | sources().keys()


def test_each_line_says_why() -> None:
    assert [name for name, why in explained().items() if len(why.strip()) < 4] == []


def test_packages_are_named_that_ship_it() -> None:
    tools = {"patchelf", "libstdc++6", "libgcc-s1"}
    for name, packages in sources().items():
        if name not in tools:
            named = set(re.findall(r"[a-z]+", explained()[name].partition("|")[0]))
            assert packages <= named, name
