"""Recipes: `packages/<name>/` with `[<variant>.]buildinfo.json`, a build script and, where needed, `extra/`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkgpanda.build import fields
from pkgpanda.build.fields import Note, Requirement, problem_noter
from pkgpanda.build.jsontext import read_object
from pkgpanda.build.sources import Source, read_sources
from pkgpanda.errors import PandaError, Problem
from pkgpanda.ids import is_name

BUILDINFO = "buildinfo.json"


@dataclass(frozen=True)
class Recipe:
    """One variant of a package, checked. `variant` is "" for the default one; `data` is buildinfo.json as read."""

    name: str
    variant: str
    directory: Path
    script: str
    sources: Mapping[str, Source]
    requires: tuple[Requirement, ...]
    environment: Mapping[str, str]
    sysctl: Mapping[str, Mapping[str, str | int]]
    state_directory: bool
    username: str
    group: str
    data: Mapping[str, Any]

    @property
    def where(self) -> str:
        """The file a user would open."""
        return str(self.directory / buildinfo_name(self.variant))

    @property
    def extra(self) -> Path:
        """Files that belong to the recipe; the directory may be absent."""
        return self.directory / "extra"

    def __str__(self) -> str:
        return str(Requirement(self.name, self.variant))


def buildinfo_name(variant: str) -> str:
    """The file name of a variant."""
    return f"{variant}.{BUILDINFO}" if variant else BUILDINFO


def read_recipe(directory: Path, variant: str = "") -> Recipe:
    """Read and check one variant; raises PandaError with all that is wrong with it."""
    path = directory / buildinfo_name(variant)
    data = read_object(path)
    problems: list[Problem] = []
    note = problem_noter(str(path), problems)
    fields.check_keys(data, note)
    username, group = fields.read_user(data, note)
    sources = {"sources": data.get("sources", {})}
    if "single_source" in data:
        sources = {"sources": {directory.name: data["single_source"]}}
    recipe = Recipe(
        name=directory.name,
        variant=variant,
        directory=directory,
        script=_read_script(data, directory, variant, note),
        sources=read_sources(sources["sources"], str(path), directory, note),
        requires=fields.read_requires(data.get("requires", []), directory.name, note),
        environment=fields.read_environment(data.get("environment", {}), note),
        sysctl=fields.read_sysctl(data.get("sysctl", {}), note),
        state_directory=fields.read_state_directory(data.get("state_directory", False), note),
        username=username,
        group=group,
        data=data,
    )
    if problems:
        raise PandaError(problems)
    return recipe


def _read_script(data: Mapping[str, Any], directory: Path, variant: str, note: Note) -> str:
    default = f"{variant}.build" if variant else "build"
    script = data.get("build_script", default)
    key = "build_script" if "build_script" in data else ""
    if not isinstance(script, str) or not script:
        note(key, f"is not a path: {script!r}", "")
        return default
    normal = os.path.normpath(script)
    if (
        os.path.isabs(script)
        or normal.startswith("..")
        or (directory / normal).resolve() != directory.resolve() / normal
    ):
        note(key, f"leads out of the recipe: {script}", "")
    elif not (directory / script).is_file():
        note(key, f"the build script {script} is not there", f"write {directory / script}")
    return normal


class RecipeStore:
    """The recipes below one directory; each is read once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._read: dict[Requirement, Recipe] = {}
        self._variants = self._list()

    def _list(self) -> dict[str, list[str]]:
        """name -> variants; raises PandaError for names no package can have."""
        problems = []
        found: dict[str, list[str]] = {}
        try:
            directories = sorted(path for path in self.directory.iterdir() if path.is_dir())
        except OSError as error:
            raise PandaError.one(str(self.directory), f"cannot be read: {error.strerror}", "--packages-dir") from error
        for directory in directories:
            for name in sorted(path.name for path in directory.iterdir() if path.name.endswith(BUILDINFO)):
                prefix = name.removesuffix(BUILDINFO)
                variant = prefix.removesuffix(".")
                if prefix and (variant == prefix or not is_name(variant)):
                    hint = f"{BUILDINFO}, or <variant>.{BUILDINFO}"
                    problems.append(Problem(str(directory / name), "names no variant", hint))
                found.setdefault(directory.name, []).append(variant)
            if directory.name in found and not is_name(directory.name):
                problems.append(Problem(str(directory), "is not a name for a package", "letters, digits and . _ + @ -"))
        if problems:
            raise PandaError(problems)
        return found

    def names(self) -> list[str]:
        """All packages, sorted."""
        return sorted(self._variants)

    def variants(self, name: str) -> list[str]:
        """The variants of a package ("" is the default one), sorted; empty when there is no such package."""
        return sorted(self._variants.get(name, []))

    def get(self, wanted: Requirement, asker: str) -> Recipe:
        """The recipe of a package; `asker` is who names it, for the message when there is none."""
        if wanted not in self._read:
            if wanted.name not in self._variants:
                near = next(iter(fields.unknown_keys([wanted.name], self.names())))[1]
                raise PandaError.one(asker, f"there is no package {wanted.name}", near)
            if wanted.variant not in self._variants[wanted.name]:
                known = ", ".join(variant or "the default one" for variant in self.variants(wanted.name))
                variant = f"variant {wanted.variant}" if wanted.variant else "default variant"
                raise PandaError.one(asker, f"{wanted.name} has no {variant}", f"it has {known}")
            self._read[wanted] = read_recipe(self.directory / wanted.name, wanted.variant)
        return self._read[wanted]
