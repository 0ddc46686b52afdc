"""Building one package: lay out its inputs, run its script, judge and pack what it made."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkgpanda.build import archive
from pkgpanda.build.contents import METADATA, check_result, well_known
from pkgpanda.build.hashing import digest
from pkgpanda.build.inputs import BUILDER, Inputs
from pkgpanda.build.output import BuiltPackage, Output
from pkgpanda.build.recipe import Recipe
from pkgpanda.build.script import Scripts
from pkgpanda.build.sources import Source, SourceRecord, Workshop
from pkgpanda.build.sources.base import extract_tar
from pkgpanda.build.sources.local import copy_entries, declared_inputs
from pkgpanda.build.walk import INSTALL_ROOT
from pkgpanda.errors import PandaError
from pkgpanda.ids import ROLES, PackageId

_LAST_LINES = 20
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_EPOCH = "315532800"
"""1980-01-01: the earliest time a zip can hold, for tools that write one."""


@dataclass(frozen=True)
class Job:
    """One build: a recipe, its sources as fetched, the id they give, and all packages it requires, by name."""

    recipe: Recipe
    id: PackageId
    inputs: Inputs
    sources: Mapping[str, Source]
    packages: Mapping[str, BuiltPackage]


@dataclass(frozen=True)
class Builder:
    """Builds jobs into an output; used from several threads at once."""

    output: Output
    workshop: Workshop
    scripts: Scripts
    report: Callable[[str], None]
    threads: int = 0

    def build(self, job: Job) -> BuiltPackage:
        """Build and store the package; raises PandaError, and leaves only the log, when that fails."""
        started = time.monotonic()
        self.report(f"{job.recipe.name}: building...")
        with self.output.workplace(job.recipe.name) as work:
            records = self._lay_out(job, work)
            self._run(job, work)
            entries = check_result(work / "result", job.recipe.name, work)
            _write_metadata(job, work / "result")
            target = self.output.archive(job.id)
            packed = archive.pack(work / "result", target, self.threads)
        built = BuiltPackage(
            id=job.id,
            roles=ROLES,
            archive=target,
            sha256=packed.sha256,
            size=packed.size,
            tar_sha256=packed.tar_sha256,
            reused=False,
            requires=tuple(job.packages[requirement.name].id for requirement in job.recipe.requires),
            sources=tuple(records),
            files=tuple(entry.path for entry in entries if entry.kind != "dir" and well_known(entry.path)),
            inputs=job.inputs,
        )
        self.output.describe(built)
        seconds = time.monotonic() - started
        self.report(f"{job.recipe.name}: built {job.id} ({packed.size / 1e6:.1f} MB, {seconds:.1f} s)")
        return built

    def _lay_out(self, job: Job, work: Path) -> list[SourceRecord]:
        """Everything the script may read, and nothing else: copies, so that it cannot change the originals either."""
        recipe = job.recipe
        for name in ("src", "result", "requires", "recipe", "extra", "home", "tmp"):
            (work / name).mkdir()
        script = work / "recipe" / recipe.script
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_bytes((recipe.directory / recipe.script).read_bytes())
        script.chmod(0o755)
        if recipe.extra.is_dir():
            copy_entries(recipe.extra, declared_inputs(recipe.extra, str(recipe.extra)), work / "extra")
        records = []
        for name, source in job.sources.items():
            target = work / "src" / name
            target.mkdir()
            source.unpack(self.workshop, target)
            records.append(source.record(self.workshop, target))
        for package in job.packages.values():
            extract_package(package, work / "requires")
        return records

    def _run(self, job: Job, work: Path) -> None:
        log = self.output.log(job.recipe.name)
        script = work / "recipe" / job.recipe.script
        status = self.scripts.run(script, work / "src", _environment(job, work), log)
        if status == 0:
            return
        for line in log.read_text(errors="replace").splitlines()[-_LAST_LINES:]:
            self.report(f"{job.recipe.name}: | {line}")
        ended = f"was ended by signal {-status}" if status < 0 else f"exited with {status}"
        path = job.recipe.directory / job.recipe.script
        raise PandaError.one(str(path), f"the build script {ended}", f"all it said is in {log}")


def extract_package(package: BuiltPackage, requires: Path) -> None:
    """Extract a package as `<requires>/<id>`, where a script that needs it looks."""
    target = requires / str(package.id)
    target.mkdir()
    extract_tar(str(package.archive), package.archive, target)


def _environment(job: Job, work: Path) -> dict[str, str]:
    """All that a build script finds in its environment; docs/explanation/packages.md lists it."""
    environment = {
        "HOME": str(work / "home"),
        "LC_ALL": "C.UTF-8",
        "NUM_CORES": str(os.cpu_count() or 1),
        "PATH": _PATH,
        "PKG_BUILD_DIR": str(work / "recipe"),
        "PKG_EXTRA": str(work / "extra"),
        "PKG_ID": str(job.id),
        "PKG_INSTALL_PATH": f"{INSTALL_ROOT}/packages/{job.id}",
        "PKG_NAME": job.id.name,
        "PKG_PATH": str(work / "result"),
        "PKG_REQUIRES_DIR": str(work / "requires"),
        "PKG_SRC": str(work / "src"),
        "PKG_VARIANT": job.recipe.variant,
        "PKG_VERSION": job.id.version,
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": _EPOCH,
        "TMPDIR": str(work / "tmp"),
        "TZ": "UTC",
    }
    for name, package in job.packages.items():
        environment[f"PKG_REQUIRES_{variable_name(name)}"] = str(package.id)
    return environment


def variable_name(package: str) -> str:
    """A package's name inside a variable's: upper case, and _ for what a variable cannot hold."""
    return "".join(character if character.isalnum() else "_" for character in package.upper())


def _write_metadata(job: Job, result: Path) -> None:
    recipe = job.recipe
    info: dict[str, Any] = {
        "environment": dict(recipe.environment),
        "requires": list(recipe.data.get("requires", [])),
        "state_directory": recipe.state_directory,
    }
    optional = {"username": recipe.username, "group": recipe.group, "sysctl": recipe.sysctl, "variant": recipe.variant}
    info |= {key: value for key, value in optional.items() if value}
    for name, data in zip(METADATA, (info, _full_buildinfo(job)), strict=True):
        text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (result / name).write_text(text, encoding="utf-8")


def _full_buildinfo(job: Job) -> dict[str, Any]:
    """Upstream's members; `build_ids` has what entered the id, under upstream's names."""
    inputs = dict(job.inputs)
    extra = {"extra_source": digest(inputs["extra"])} if inputs["extra"] is not None else {}
    return {
        "name": job.recipe.name,
        "variant": job.recipe.variant or None,
        "package_version": job.id.version,
        "sources": inputs["sources"],
        **extra,
        "build_ids": {
            "build": next(iter(inputs["build"].values())),
            "environment": inputs["environment"],
            "name": job.recipe.name,
            "pkgpanda_version": BUILDER,
            "requires": inputs["packages"],
            "sources": inputs["sources"],
            "state_directory": job.recipe.state_directory,
            "variant": job.recipe.variant,
            **{key: inputs[key] for key in ("username", "group", "sysctl") if inputs[key]},
            **extra,
        },
    }
