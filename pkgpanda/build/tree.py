"""Building many packages: ids first, what exists is reused, the rest is built in parallel, in order of requirement."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path

from pkgpanda.build.builder import Builder, Job
from pkgpanda.build.contents import well_known
from pkgpanda.build.fields import Requirement
from pkgpanda.build.graph import Graph
from pkgpanda.build.inputs import Inputs, gather, package_id
from pkgpanda.build.output import BuiltPackage, Output
from pkgpanda.build.recipe import Recipe, RecipeStore
from pkgpanda.build.script import Scripts
from pkgpanda.build.sources import Source, SourceRecord, Workshop
from pkgpanda.build.sources.cache import Cache, default_cache
from pkgpanda.build.sources.deb import prefetch
from pkgpanda.build.treefile import assign_roles, closure, read_tree_file
from pkgpanda.errors import PandaError, Problem
from pkgpanda.ids import ROLES, PackageId

__all__ = ["BuiltPackage", "Report", "Shop", "SourceRecord", "TreeResult", "build_tree"]

Report = Callable[[str], None]
"""Receives lines for people: `name: what happened`; one that ends in `...` is progress, of interest until the next."""


@dataclass(frozen=True)
class TreeResult:
    """The packages of a tree, sorted by name, and the ids that its bootstrap tarball holds."""

    packages: tuple[BuiltPackage, ...]
    bootstrap: tuple[PackageId, ...]


def build_tree(
    packages_dir: Path,
    tree_file: Path,
    build_dir: Path,
    *,
    locked: bool = False,
    jobs: int = 0,
    report: Report,
) -> TreeResult:
    """Build what `tree_file` names from the recipes of `packages_dir`, into `build_dir`.

    `jobs` packages at once (0: one for each processor). Raises PandaError; packages that were finished stay.
    """
    tree = read_tree_file(tree_file)
    shop = Shop(packages_dir, build_dir, locked=locked, report=report)
    graph = Graph(shop.store, {str(tree_file): tree.packages})
    roles = assign_roles(tree, graph)
    bootstrap = closure(tree, graph, tree.bootstrap)
    built = shop.build(graph, jobs)
    packages = tuple(built[name].for_roles(roles[name]) for name in sorted(built))
    check_conflicts(packages)
    return TreeResult(packages, tuple(built[name].id for name in bootstrap))


class Shop:
    """Recipes, an output directory and a cache: all that building, asking for ids and asking why takes."""

    def __init__(self, packages_dir: Path, build_dir: Path, *, locked: bool = False, report: Report) -> None:
        self.store = RecipeStore(packages_dir)
        self.output = Output(build_dir)
        self.workshop = Workshop(Cache(default_cache()), self.output.digests, locked, report)
        self._report = report

    def graph(self, wanted: Collection[Requirement]) -> Graph:
        """The graph of packages that somebody names on a command line."""
        return Graph(self.store, {str(self.store.directory): wanted})

    def inputs(self, graph: Graph) -> dict[str, Inputs]:
        """The inputs of every package as things stand: nothing is fetched."""
        found: dict[str, Inputs] = {}
        for recipe in graph.order:
            packages = [package_id(found[name]) for name in graph.transitive(recipe.name)]
            sources = {name: source.recall(self.workshop) for name, source in recipe.sources.items()}
            pinned = gather(recipe, recipe.sources, packages, self.workshop)
            recalled = gather(recipe, sources, packages, self.workshop)
            found[recipe.name] = pinned if self.output.find(package_id(pinned)) else recalled
        return found

    def build(self, graph: Graph, jobs: int = 0) -> dict[str, BuiltPackage]:
        """Build or find every package of the graph."""
        self.output.clear_dead()
        jobs = jobs or os.cpu_count() or 1
        run = _Run(self, graph, Scripts(), self._report)
        try:
            built = run.all(jobs)
        finally:
            self.output.digests.save()
        return built


class _Run:
    """One run over a graph: what is built so far, and what failed."""

    def __init__(self, shop: Shop, graph: Graph, scripts: Scripts, report: Report) -> None:
        self._output, self._workshop, self._graph = shop.output, shop.workshop, graph
        self._scripts, self._report = scripts, report
        self._builder = Builder(shop.output, shop.workshop, scripts, report)
        self._built: dict[str, BuiltPackage] = {}
        self._failures: list[PandaError] = []

    def all(self, jobs: int) -> dict[str, BuiltPackage]:
        """Everything, `jobs` at a time; after a failure what runs is finished and nothing more begun."""
        sorter = TopologicalSorter(
            {recipe.name: [required.name for required in recipe.requires] for recipe in self._graph.order}
        )
        sorter.prepare()
        running: dict[Future[BuiltPackage], str] = {}
        with ThreadPoolExecutor(jobs) as pool, self._ended_with_us(pool):
            while running or (sorter.is_active() and not self._failures):
                if not self._failures:
                    running |= {pool.submit(self._make, self._graph[name]): name for name in sorter.get_ready()}
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    if self._note(name, future):
                        sorter.done(name)
        if self._failures:
            raise PandaError(
                (problem for failure in self._failures for problem in failure.problems),
                max(failure.status for failure in self._failures),
            )
        return self._built

    @contextlib.contextmanager
    def _ended_with_us(self, pool: ThreadPoolExecutor) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._scripts.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise

    def _note(self, name: str, future: Future[BuiltPackage]) -> bool:
        try:
            self._built[name] = future.result()
        except PandaError as error:
            self._failures.append(error)
            return False
        return True

    def _make(self, recipe: Recipe) -> BuiltPackage:
        packages = {name: self._built[name] for name in self._graph.transitive(recipe.name)}
        found = self._find(recipe, recipe.sources, packages)
        recalled = {name: source.recall(self._workshop) for name, source in recipe.sources.items()}
        found = found or self._find(recipe, recalled, packages)
        if found is None:
            with self._output.lock(recipe.name):
                found = self._fetch_and_build(recipe, packages)
        if found.reused:
            self._report(f"{recipe.name}: unchanged")
        self._output.note_latest(recipe, found.id)
        return found

    def _find(
        self, recipe: Recipe, sources: Mapping[str, Source], packages: Mapping[str, BuiltPackage]
    ) -> BuiltPackage | None:
        return self._existing(package_id(self._gather(recipe, sources, packages)), sources)

    def _existing(self, identity: PackageId, sources: Mapping[str, Source]) -> BuiltPackage | None:
        """The package, with what is true of its sources now: a replacement may have been pinned since it was built."""
        if (found := self._output.find(identity)) is None:
            return None
        records = (record._replace(unlocked=sources[record.source].unlocked) for record in found.sources)
        return replace(found, sources=tuple(records))

    def _gather(self, recipe: Recipe, sources: Mapping[str, Source], packages: Mapping[str, BuiltPackage]) -> Inputs:
        return gather(recipe, sources, [package.id for package in packages.values()], self._workshop)

    def _fetch_and_build(self, recipe: Recipe, packages: Mapping[str, BuiltPackage]) -> BuiltPackage:
        prefetch(recipe.sources.values(), self._workshop)
        sources = {name: source.fetch(self._workshop) for name, source in recipe.sources.items()}
        inputs = self._gather(recipe, sources, packages)
        identity = package_id(inputs)
        if found := self._existing(identity, sources):
            return found
        built = self._builder.build(Job(recipe, identity, inputs, sources, packages))
        if self._gather(recipe, sources, packages) != inputs:
            self._output.remove(identity)
            raise PandaError.one(recipe.where, "changed while it was being built", "run the build again")
        return built


def check_conflicts(packages: Collection[BuiltPackage]) -> None:
    """Refuse a path that two packages, or one package twice, would put into one directory of a node."""
    problems: set[Problem] = set()
    for role in ROLES:
        owners: dict[str, tuple[BuiltPackage, str]] = {}
        for package in packages:
            if role not in package.roles:
                continue
            for path in package.files:
                place = well_known(path)
                if place is None or role not in place[1]:
                    continue
                shared = f"{place[0]}/{place[2]}"
                if shared in owners:
                    other, other_path = owners[shared]
                    problems.add(_conflict(package, path, other, other_path))
                owners.setdefault(shared, (package, path))
        problems |= set(_shadowed(owners))
    if problems:
        raise PandaError(problems)


def _conflict(package: BuiltPackage, path: str, other: BuiltPackage, other_path: str) -> Problem:
    there = "" if path == other_path else f" as {other_path}"
    return Problem(path, f"is in {package.id.name} and in {other.id.name}{there}", "one of them must give it up")


def _shadowed(owners: Mapping[str, tuple[BuiltPackage, str]]) -> Iterator[Problem]:
    """A file where another package has a directory."""
    for shared, (package, path) in owners.items():
        parts = shared.split("/")
        for length in range(2, len(parts)):
            if above := owners.get("/".join(parts[:length])):
                yield Problem(
                    above[1], f"is a file in {above[0].id.name} and a directory in {package.id.name} ({path})"
                )
