"""`mkpanda update-sources`: pins of `deb` and `pypi` sources moved to what the archives have now."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pkgpanda.build.fields import Requirement
from pkgpanda.build.jsontext import read_text, replace_values
from pkgpanda.build.recipe import Recipe, RecipeStore
from pkgpanda.build.sources import Source, Workshop
from pkgpanda.build.sources.deb import DebSource, candidate
from pkgpanda.build.sources.pypi import PypiSource
from pkgpanda.errors import PandaError


class Change(NamedTuple):
    """One source with another pin: versions for people, `members` for the file."""

    file: Path
    package: str
    source: str
    old: str
    new: str
    members: dict[str, str]


def plan_changes(store: RecipeStore, names: Sequence[str], workshop: Workshop) -> list[Change]:
    """What differs between the pins of these packages (none: all) and the archives."""
    changes = []
    for name in names or store.names():
        for variant in store.variants(name) or [""]:
            recipe = store.get(Requirement(name, variant), str(store.directory))
            found = (_change(recipe, source, workshop) for source in recipe.sources.values())
            changes += [change for change in found if change]
    return changes


def _change(recipe: Recipe, source: Source, workshop: Workshop) -> Change | None:
    if isinstance(source, DebSource):
        members = candidate(source, workshop)._asdict()
    elif isinstance(source, PypiSource):
        members = source.newest(workshop)._asdict()
    else:
        return None
    members = {key: value for key, value in members.items() if source.members[key] != value}
    if not members:
        return None
    old, new = source.members["version"], members.get("version", "the same version, other bytes")
    return Change(Path(recipe.where), recipe.name, source.name, old, new, members)


def apply_changes(changes: Sequence[Change]) -> None:
    """Write the new pins; everything else in the files stays as it is, to the character."""
    for file in {change.file: None for change in changes}:
        text = read_text(file)
        values: dict[tuple[str, ...], str] = {}
        for change in changes:
            if change.file == file:
                single = '"single_source"' in text and change.source == change.package
                path = ("single_source",) if single else ("sources", change.source)
                values |= {(*path, key): value for key, value in change.members.items()}
        renewed = replace_values(text, values)
        if renewed == text:
            raise PandaError.one(str(file), "could not be rewritten", "pin the sources by hand")
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        temporary.write_text(renewed, encoding="utf-8", newline="")
        os.chmod(temporary, file.stat().st_mode & 0o777)
        os.replace(temporary, file)
