"""What is built and what is left over: `mkpanda list` and `mkpanda gc`."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pkgpanda.build.fields import Requirement
from pkgpanda.build.inputs import package_id
from pkgpanda.build.recipe import Recipe
from pkgpanda.build.tree import Shop

_DIGEST = re.compile(r"[0-9a-f]{64}")


def _recipes(shop: Shop) -> Iterable[Recipe]:
    for name in shop.store.names():
        for variant in shop.store.variants(name):
            yield shop.store.get(Requirement(name, variant), str(shop.store.directory))


def list_recipes(shop: Shop) -> list[dict[str, Any]]:
    """One row for each recipe and variant: name, variant, id, and the archive with its size where it is built."""
    rows = []
    for recipe in _recipes(shop):
        inputs = shop.inputs(shop.graph([Requirement(recipe.name, recipe.variant)]))[recipe.name]
        built = shop.output.find(package_id(inputs))
        rows.append(
            {
                "name": recipe.name,
                "variant": recipe.variant,
                "id": str(package_id(inputs)),
                "archive": str(built.archive) if built else None,
                "size": built.size if built else 0,
            }
        )
    return rows


def plan_removal(shop: Shop, with_cache: bool) -> list[Path]:
    """The files that no recipe gives or needs any more, sorted; builds that are going on are left alone."""
    shop.output.clear_dead()
    rows = list_recipes(shop)
    kept = {f"{row['id']}{suffix}" for row in rows for suffix in (".tar.xz", ".json")}
    names = {row["name"] for row in rows}
    paths = []
    for path in shop.output.directory.glob("packages/*/*"):
        recipe_gone = path.parent.name not in names
        if path.is_file() and (recipe_gone or (path.name not in kept and not path.name.endswith("latest"))):
            paths.append(path)
    paths += [path for path in shop.output.directory.glob("logs/*.log") if path.stem not in names]
    return sorted(paths + (_unpinned(shop) if with_cache else []))


def _unpinned(shop: Shop) -> list[Path]:
    pinned = set()
    for recipe in _recipes(shop):
        for source in recipe.sources.values():
            pinned |= {source.members.get("sha256"), source.recall(shop.workshop).members.get("sha256")}
    directory = shop.workshop.cache.root
    files = [*directory.glob("sources/*"), *directory.glob("partial/*")]
    return [path for path in files if _DIGEST.fullmatch(path.name) and path.name not in pinned]


def remove(paths: Iterable[Path]) -> None:
    """Remove files, and the directories of packages this leaves empty."""
    for path in paths:
        path.unlink(missing_ok=True)
        if path.parent.parent.name == "packages" and not any(path.parent.iterdir()):
            path.parent.rmdir()
