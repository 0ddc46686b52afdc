"""The order of building: what a set of packages requires, each after what it requires."""

from collections.abc import Iterable, Mapping, Sequence

from pkgpanda.build.fields import Requirement
from pkgpanda.build.recipe import Recipe, RecipeStore
from pkgpanda.errors import PandaError, Problem


class Graph:
    """Recipes in an order of building, and their requirements.

    Raises PandaError with all that is wrong: recipes, missing requirements, cycles, one package in two variants.
    """

    def __init__(self, store: RecipeStore, roots: Mapping[str, Iterable[Requirement]]) -> None:
        self._store = store
        self._problems: list[Problem] = []
        self._recipes: dict[str, Recipe] = {}
        self._askers: dict[str, str] = {}
        self._failed: set[Requirement] = set()
        for asker, wanted in roots.items():
            for requirement in wanted:
                self._visit(requirement, asker, [])
        if self._problems:
            raise PandaError(self._problems)
        self.order: Sequence[Recipe] = tuple(self._recipes.values())

    def __getitem__(self, name: str) -> Recipe:
        return self._recipes[name]

    def transitive(self, name: str) -> list[str]:
        """All that a package requires, directly or not, sorted."""
        found: set[str] = set()
        todo = [name]
        while todo:
            fresh = {requirement.name for requirement in self._recipes[todo.pop()].requires} - found
            found |= fresh
            todo += fresh
        return sorted(found)

    def _visit(self, wanted: Requirement, asker: str, path: list[str]) -> None:
        if wanted.name in path:
            cycle = " -> ".join([*path[path.index(wanted.name) :], wanted.name])
            self._problems.append(Problem(asker, f"packages require each other in a circle: {cycle}"))
            return
        if wanted in self._failed:
            return
        if known := self._recipes.get(wanted.name):
            self._check_variant(known, wanted, asker)
            return
        try:
            recipe = self._store.get(wanted, asker)
        except PandaError as error:
            self._problems += error.problems
            self._failed.add(wanted)
            return
        for requirement in recipe.requires:
            self._visit(requirement, recipe.where, [*path, wanted.name])
        self._recipes[wanted.name] = recipe
        self._askers[wanted.name] = asker

    def _check_variant(self, known: Recipe, wanted: Requirement, asker: str) -> None:
        if known.variant == wanted.variant:
            return
        asked = f"the variant {wanted.variant}" if wanted.variant else "the default variant"
        other = f"the variant {known.variant}" if known.variant else "the default variant"
        self._problems.append(
            Problem(asker, f"asks for {asked} of {known.name}, and {self._askers[known.name]} for {other}")
        )
