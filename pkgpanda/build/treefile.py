"""The tree: the top-level buildinfo.json, which says what makes up the bundle and on which roles."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pkgpanda.build.fields import Note, Requirement, problem_noter, read_requirement, unknown_keys
from pkgpanda.build.graph import Graph
from pkgpanda.build.jsontext import read_object
from pkgpanda.errors import PandaError, Problem
from pkgpanda.ids import ROLES


@dataclass(frozen=True)
class TreeFile:
    """`packages`: what is asked for, with the roles given (none: not given); `bootstrap`: names."""

    path: Path
    packages: Mapping[Requirement, tuple[str, ...]]
    bootstrap: tuple[str, ...]


def read_tree_file(path: Path) -> TreeFile:
    """Read and check the file by itself; raises PandaError with all that is wrong with it."""
    data = read_object(path)
    problems: list[Problem] = []
    note = problem_noter(str(path), problems)
    for key, hint in unknown_keys(data, ("requires", "bootstrap")):
        note(key, "is not a key of a tree", hint)
    packages = _read_packages(data.get("requires"), note)
    bootstrap = data.get("bootstrap", [])
    if not isinstance(bootstrap, list) or not all(isinstance(name, str) for name in bootstrap):
        note("bootstrap", "is not a list of names", "")
    if problems:
        raise PandaError(problems)
    return TreeFile(path, packages, tuple(bootstrap))


def _read_packages(data: object, note: Note) -> dict[Requirement, tuple[str, ...]]:
    if not isinstance(data, list):
        note("requires", "is not a list" if data is not None else "is missing", 'write ["name", ...]')
        return {}
    found: dict[Requirement, tuple[str, ...]] = {}
    for index, item in enumerate(data):
        key = f"requires[{index}]"
        requirement, roles = _read_entry(item, key, note)
        if requirement is None:
            continue
        if requirement.name in {known.name for known in found}:
            note(key, f"names {requirement.name} a second time", "remove it")
        found[requirement] = roles
    return found


def _read_entry(item: object, key: str, note: Note) -> tuple[Requirement | None, tuple[str, ...]]:
    if not isinstance(item, dict):
        return read_requirement(item, key, note), ()
    for unknown, hint in unknown_keys(item, ("name", "variant", "roles")):
        note(f"{key}.{unknown}", "is not a key of a tree's package", hint)
    roles = item.get("roles", [])
    if "roles" in item and (not isinstance(roles, list) or not roles or not all(role in ROLES for role in roles)):
        note(f"{key}.roles", f"is not a list of roles: {roles!r}", f"of {', '.join(ROLES)}")
        roles = []
    plain = {"name": item.get("name"), "variant": item.get("variant")}
    return read_requirement(plain, key, note), tuple(role for role in ROLES if role in roles)


def assign_roles(tree: TreeFile, graph: Graph) -> dict[str, tuple[str, ...]]:
    """name -> roles of every package of the graph: its own, and those of whatever requires it.

    Raises PandaError where the tree gives a package fewer roles than what requires it has.
    """
    given = {requirement.name: set(roles) for requirement, roles in tree.packages.items() if roles}
    roles: dict[str, set[str]] = {recipe.name: set() for recipe in graph.order}
    problems = []
    for recipe in reversed(graph.order):  # what requires comes before what it requires
        own = roles[recipe.name]
        if recipe.name in given:
            if missing := own - given[recipe.name]:
                listed = ", ".join(sorted(missing))
                problems.append(
                    Problem(str(tree.path), f"{recipe.name} is not for {listed}, where other packages require it")
                )
            own |= given[recipe.name]
        elif recipe.name in {requirement.name for requirement in tree.packages}:
            own |= set(ROLES)
        for requirement in recipe.requires:
            roles[requirement.name] |= own
    if problems:
        raise PandaError(problems)
    return {name: tuple(role for role in ROLES if role in own) for name, own in roles.items()}


def closure(tree: TreeFile, graph: Graph, names: Iterable[str]) -> list[str]:
    """`names` with all they require, sorted; raises PandaError for a name the tree does not hold."""
    known = {recipe.name for recipe in graph.order}
    if strange := sorted(set(names) - known):
        raise PandaError(
            Problem(f"{tree.path}: bootstrap", f"{name} is not in the tree", "name it in requires") for name in strange
        )
    return sorted({inner for name in names for inner in (name, *graph.transitive(name))})
