"""Whatever is wrong with a recipe: one line that says where and what, exit 1, and nothing left behind."""

from typing import Any, NamedTuple

import pytest

from tests.integration.mkpanda.conftest import Repository

_OK = "true\n"
_ZERO = "0" * 64
_DEB = {"kind": "deb", "package": "zlib1g", "version": "1.2", "sha256": _ZERO}
_WHEEL = {"kind": "pypi", "project": "p", "version": "1.0", "filename": "p-1.0-py3-none-any.whl", "sha256": _ZERO}
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_GIT = {"kind": "git", "git": "https://example.invalid/x", "ref": "a" * 40}


class Broken(NamedTuple):
    """Files below packages/, what the line says, and the command (default: build everything)."""

    files: dict[str, Any]
    says: str
    command: tuple[str, ...] = ("build",)


def _info(says: str, **members: Any) -> Broken:
    """A recipe `a` whose buildinfo.json has these members."""
    return Broken({"a/buildinfo.json": members, "a/build": _OK}, says)


def _source(says: str, **source: Any) -> Broken:
    return _info(says, sources={"s": source})


def _script(says: str, script: str, **members: Any) -> Broken:
    """A recipe `a` whose script leaves something wrong behind."""
    return Broken({"a/buildinfo.json": members, "a/build": script}, says)


def _tree(says: str, **tree: Any) -> Broken:
    recipes: dict[str, Any] = {
        f"{name}/{file}": content for name in "ab" for file, content in (("buildinfo.json", {}), ("build", _OK))
    }
    recipes["b/buildinfo.json"] = {"requires": ["a"]}
    return Broken({**recipes, "../buildinfo.json": tree}, says, ("tree",))


BROKEN = {
    # the file
    "not json": Broken({"a/buildinfo.json": "{,}", "a/build": _OK}, "a/buildinfo.json:1:2: is not JSON"),
    "not utf-8": Broken({"a/buildinfo.json": b'{"\xff": 1}', "a/build": _OK}, "is not UTF-8: byte 2"),
    "not an object": Broken({"a/buildinfo.json": [], "a/build": _OK}, "is not a JSON object"),
    "doubled key": Broken({"a/buildinfo.json": '{"group": 1, "group": 2}'}, "has the key 'group' twice"),
    "nan": Broken({"a/buildinfo.json": '{"sysctl": NaN}', "a/build": _OK}, "holds NaN"),
    "deep": Broken({"a/buildinfo.json": "[" * 100000, "a/build": _OK}, "nested too deeply"),
    "a directory": Broken({"a/buildinfo.json/x": "", "a/build": _OK}, "cannot be read: Is a directory"),
    "hidden variant": Broken({"a/.buildinfo.json": {}, "a/build": _OK}, "names no variant"),
    "glued variant": Broken({"a/foobuildinfo.json": {}, "a/build": _OK}, "names no variant"),
    "bad variant": Broken({"a/x--y.buildinfo.json": {}, "a/build": _OK}, "names no variant"),
    "bad package name": Broken({"a--b/buildinfo.json": {}, "a--b/build": _OK}, "is not a name for a package"),
    # keys
    "unknown key": _info("requirez: is not a key of a recipe (did you mean requires?)", requirez=[]),
    "docker": _info("docker: is not used", docker="image"),
    "version_extra": _info("version_extra: is not used", version_extra="1"),
    "derived key": _info("pkgpanda_version: is worked out by the builder", pkgpanda_version="1"),
    "two kinds of sources": _info("single_source: cannot stand beside sources", sources={}, single_source=_DEB),
    # requires
    "requires no list": _info("requires: is not a list", requires="b"),
    "requires an id": _info("requires[0]: is a package id", requires=["b--1"]),
    "requires a number": _info("requires[0]: is neither a name", requires=[1]),
    "requires a bad name": _info("requires[0]: is not a package's name", requires=["b/c"]),
    "requires twice": _info("requires[1]: names b a second time", requires=["b", "b"]),
    "requires itself": _info("requires[0]: is the package itself", requires=["a"]),
    "requires without variant": _info("requires[0]: needs the keys name and variant", requires=[{"name": "b"}]),
    "requirement missing": _info("there is no package bb", requires=["bb"]),
    "variant missing": Broken(
        {"a/buildinfo.json": {"requires": [{"name": "b", "variant": "v"}]}, "a/build": _OK, "b/buildinfo.json": {}}
        | {"b/build": _OK},
        "b has no variant v (it has the default one)",
        ("build", "a"),
    ),
    "cycle": Broken(
        {f"{x}/buildinfo.json": {"requires": [y]} for x, y in ("ab", "bc", "ca")} | {f"{x}/build": _OK for x in "abc"},
        "packages require each other in a circle: a -> b -> c -> a",
    ),
    "two variants": Broken(
        {"a/buildinfo.json": {"requires": [{"name": "b", "variant": "v"}, "c"]}}
        | {"c/buildinfo.json": {"requires": ["b"]}}
        | {"b/buildinfo.json": {}, "b/v.buildinfo.json": {}, "b/v.build": _OK}
        | {f"{x}/build": _OK for x in "abc"},
        "asks for the default variant of b, and packages/a/buildinfo.json for the variant v",
        ("build", "a"),
    ),
    # values
    "environment no object": _info("environment: is not an object", environment=[]),
    "environment name": _info("environment.A-B: is not a variable's name", environment={"A-B": "x"}),
    "environment reserved": _info("environment.LD_LIBRARY_PATH: is reserved", environment={"LD_LIBRARY_PATH": "x"}),
    "environment value": _info("environment.A: is not a string: 1", environment={"A": 1}),
    "environment line break": _info("environment.A: holds a line break", environment={"A": "x\ny"}),
    "state_directory": _info("state_directory: is not true or false: 1", state_directory=1),
    "username": _info("username: is not a name like dcos_etcd", username="etcd"),
    "group": _info("group: is not a group's name", username="dcos_x", group="9"),
    "group alone": _info("group: stands without username", group="dcos"),
    "sysctl no object": _info("sysctl: is not an object", sysctl=[]),
    "sysctl service": _info("sysctl.x/y: is not a service's name", sysctl={"x/y": {}}),
    "sysctl settings": _info("sysctl.s: is not an object", sysctl={"s": []}),
    "sysctl key": _info("sysctl.s.a b: is not a sysctl's name", sysctl={"s": {"a b": 1}}),
    "sysctl value": _info("sysctl.s.net.x: is neither a string nor a number", sysctl={"s": {"net.x": True}}),
    # the script
    "no script": Broken({"a/buildinfo.json": {}}, "the build script build is not there"),
    "no variant script": Broken(
        {"a/v.buildinfo.json": {}, "a/build": _OK}, "v.build is not there", ("build", "a", "--variant=v")
    ),
    "script no path": _info("build_script: is not a path", build_script=1),
    "script outside": _info("build_script: leads out of the recipe", build_script="../build"),
    "script fails": _script("the build script exited with 3", "echo why; exit 3\n"),
    "script unset variable": _script("the build script exited with", 'echo "$NOT_SET"\n'),
    "script pipe fails": _script("the build script exited with", "false | true\n"),
    "script ends itself": _script("the build script", "kill -9 $$\n"),
    # sources
    "sources no list": _info("sources: is not an object", sources=[]),
    "source name": _info("sources.../x: is not a name for a source", sources={"../x": _DEB}),
    "source no object": _info("sources.s: is not an object", sources={"s": "url"}),
    "source without kind": _source("sources.s: lacks the key kind", url="x"),
    "source kind": _source("sources.s: is of no kind known: 'svn'", kind="svn"),
    "source key missing": _source("sources.s: lacks the key version", kind="deb", package="zlib1g", sha256=_ZERO),
    "source key unknown": _source("sources.s.vrsion: is not a key of a deb source", **_DEB, vrsion="1"),
    "source value": _source("sources.s.version: is not a string", **{**_DEB, "version": 1}),
    "sha256": _source("sources.s.sha256: is not 64 hexadecimal digits", **{**_DEB, "sha256": "abc"}),
    "sha1": _source("sources.s.sha1: is too weak a pin", kind="url", url="https://x/y", sha1="0" * 40),
    "url scheme": _source("begins with none of", kind="url", url="ftp://x/y", sha256=_ZERO),
    "url without scheme": _source("begins with none of", kind="url", url="x/y", sha256=_ZERO),
    "url without a name": _source("does not end in a file's name", kind="url", url="https://x/", sha256=_ZERO),
    "url missing": _source("cannot read file://gone: No such file", kind="url", url="file://gone", sha256=_ZERO),
    "url digest": Broken(
        {"a/buildinfo.json": {"single_source": {"kind": "url", "url": "file://f", "sha256": _ZERO}}}
        | {"a/build": _OK, "a/f": ""},
        f"file://f has the sha256 {_EMPTY}, the recipe pins {_ZERO}",
    ),
    "url_extract suffix": _source("is no archive by its name", kind="url_extract", url="https://x/y.rar", sha256=_ZERO),
    "url_extract no archive": Broken(
        {"a/buildinfo.json": {"single_source": {"kind": "url_extract", "url": "file://f.zip", "sha256": _EMPTY}}}
        | {"a/build": _OK, "a/f.zip": ""},
        "cannot be unpacked: File is not a zip file",
    ),
    "deb name": _source("sources.s.package: is not a Debian package", **{**_DEB, "package": "-o=x"}),
    "deb version": _source("sources.s.version: is not a Debian version", **{**_DEB, "version": "1 2"}),
    "deb arch": _source("sources.s.arch: is not a Debian architecture", **_DEB, arch="x y"),
    "pypi sdist": _source("is not a wheel's name", **{**_WHEEL, "filename": "p-1.0.tar.gz"}),
    "pypi other version": _source("is of version 1.0, not 2.0", **{**_WHEEL, "version": "2.0"}),
    "pypi project": _source("sources.s.project: is not a project's name", **{**_WHEEL, "project": "-r x"}),
    "git branch": _source("sources.s.ref: is not a commit", **{**_GIT, "ref": "master"}),
    "git zero": _source("sources.s.ref: is not a commit", **{**_GIT, "ref": "0" * 40}),
    "git option": _source("sources.s.git: begins with -", **{**_GIT, "git": "--upload-pack=x"}),
    "git missing": _source("git failed: fatal", **{**_GIT, "git": "/nowhere/at/all"}),
    "git_local absolute": _source("is not relative to the recipe", kind="git_local", rel_path="/x"),
    "git_local missing": _source("is not a git working tree", kind="git_local", rel_path="x"),
    "local outside": _source("leads out of the repository", kind="local", path="../../.."),
    "local absolute": _source("is not relative to the recipe", kind="local", path="/etc"),
    "local missing": _source("is not a directory", kind="local", path="../gone"),
    "local include type": _source("sources.s.include: is not a list", kind="local", path=".", include="build"),
    "local include nothing": _source("sources.s.include: nothing is called x", kind="local", path=".", include=["x"]),
    # what the script left
    "link out": _script("a: x: links to ../y", "ln -s ../y $PKG_PATH/x\n"),
    "absolute link": _script("a: x: links to /etc/passwd", "ln -s /etc/passwd $PKG_PATH/x\n"),
    "pipe": _script("a: x: is a device, a pipe or a socket", "mkfifo $PKG_PATH/x\n"),
    "set-user-id": _script("a: x: has its set-user-id", "touch $PKG_PATH/x; chmod 4755 $PKG_PATH/x\n"),
    "pkginfo": _script("a: pkginfo.json: is written by the builder", "touch $PKG_PATH/pkginfo.json\n"),
    "buildinfo": _script("a: buildinfo.full.json: is written", "touch $PKG_PATH/buildinfo.full.json\n"),
    "bin is a file": _script("a: bin: is not a directory", "touch $PKG_PATH/bin\n"),
    "unknown role": _script("a: bin_slaves: is for slaves, which is no role", "mkdir $PKG_PATH/bin_slaves\n"),
    "reserved unit": _script(
        "dcos.target.wants_master/dcos-setup.service: is a unit that the node itself writes",
        "mkdir $PKG_PATH/dcos.target.wants_master; touch $PKG_PATH/dcos.target.wants_master/dcos-setup.service\n",
    ),
    "unit directory": _script("is a directory among units", "mkdir -p $PKG_PATH/dcos.target.wants/x.service.d\n"),
    "check not executable": _script("check/x: is not executable", "mkdir $PKG_PATH/check; touch $PKG_PATH/check/x\n"),
    "build directory": _script("a: x: names the build directory", "echo $PKG_PATH >$PKG_PATH/x\n"),
    "build directory in a link": _script("a: x: names the build directory", "ln -s $PKG_PATH/y $PKG_PATH/x\n"),
    # the tree
    "tree missing": Broken({"a/buildinfo.json": {}, "a/build": _OK}, "buildinfo.json: cannot be read", ("tree",)),
    "tree key": _tree("require: is not a key of a tree (did you mean requires?)", requires=[], require=[]),
    "tree without requires": _tree("requires: is missing"),
    "tree role": _tree("requires[0].roles: is not a list of roles", requires=[{"name": "a", "roles": ["slaves"]}]),
    "tree no roles": _tree("requires[0].roles: is not a list of roles", requires=[{"name": "a", "roles": []}]),
    "tree twice": _tree("requires[1]: names a a second time", requires=["a", "a"]),
    "tree unknown package": _tree("there is no package c", requires=["c"]),
    "tree unknown key": _tree("requires[0].role: is not a key", requires=[{"name": "a", "role": ["master"]}]),
    "tree narrow": _tree(
        "a is not for slave, slave_public, where other packages", requires=["b", {"name": "a", "roles": ["master"]}]
    ),
    "bootstrap type": _tree("bootstrap: is not a list of names", requires=["a"], bootstrap="a"),
    "bootstrap strange": _tree("bootstrap: b is not in the tree", requires=["a"], bootstrap=["b"]),
    # the command line's names
    "unknown package": Broken(
        {"ab/buildinfo.json": {}, "ab/build": _OK}, "no package abc (did you mean ab?)", ("id", "abc")
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_line_exit_1_and_nothing_left(repository: Repository, name: str) -> None:
    broken = BROKEN[name]
    repository.write(broken.files)
    done = repository.run(*broken.command)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert broken.says in done.stderr
    assert done.stderr.startswith("mkpanda: ")
    assert repository.leftovers() == []


def test_the_table_has_more_than_sixty_rules() -> None:
    assert len({broken.says for broken in BROKEN.values()}) >= 60
