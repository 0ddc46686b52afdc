"""What goes into a package, and the id that follows from it."""

from collections.abc import Iterable, Mapping
from typing import Any

from pkgpanda.build.hashing import Digests, digest
from pkgpanda.build.recipe import Recipe
from pkgpanda.build.sources import Source, Workshop
from pkgpanda.build.sources.local import declared_inputs, describe
from pkgpanda.ids import PackageId

BUILDER = "1"
"""Raise it when the same inputs would give other bytes: a change of the archive, the environment, the metadata."""

Inputs = Mapping[str, Any]
"""Everything that can change a package's bytes; plain JSON, kept with the package so that `why` can compare."""


def gather(recipe: Recipe, sources: Mapping[str, Source], packages: Iterable[PackageId], workshop: Workshop) -> Inputs:
    """The inputs of a recipe with these sources, where `packages` is all it requires, directly or not."""
    return {
        "builder": BUILDER,
        "name": recipe.name,
        "variant": recipe.variant,
        "build": {recipe.script: _script(recipe, workshop.digests)},
        "environment": dict(recipe.environment),
        "extra": _extra(recipe, workshop.digests),
        "group": recipe.group,
        "packages": sorted(map(str, packages)),
        "requires": list(recipe.data.get("requires", [])),
        "sources": {name: source.resolve(workshop) for name, source in sources.items()},
        "state_directory": recipe.state_directory,
        "sysctl": {service: dict(settings) for service, settings in recipe.sysctl.items()},
        "username": recipe.username,
    }


def package_id(inputs: Inputs) -> PackageId:
    """The id that these inputs have."""
    return PackageId(inputs["name"], digest(inputs))


def _script(recipe: Recipe, digests: Digests) -> str:
    path = recipe.directory / recipe.script
    return f"{'755' if path.stat().st_mode & 0o100 else '644'} {digests.of(path)}"


def _extra(recipe: Recipe, digests: Digests) -> dict[str, str] | None:
    if not recipe.extra.is_dir():
        return None
    return describe(recipe.extra, declared_inputs(recipe.extra, str(recipe.extra)), digests)


def compare(old: Inputs, new: Inputs) -> list[str]:
    """What differs, one line each: `path: old -> new`, `path: added` or `path: removed`; packages by name."""
    before, after = _flatten(_by_name(old)), _flatten(_by_name(new))
    lines = []
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            lines.append(f"{path}: added ({after[path]})")
        elif path not in after:
            lines.append(f"{path}: removed ({before[path]})")
        elif before[path] != after[path]:
            lines.append(f"{path}: {before[path]} -> {after[path]}")
    return lines


def _by_name(inputs: Inputs) -> Inputs:
    return {**inputs, "packages": {name.partition("--")[0]: name for name in inputs["packages"]}}


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        flat: dict[str, Any] = {}
        for key, inner in value.items():
            flat |= _flatten(inner, f"{path} {key}".strip())
        return flat
    return {path: value}
