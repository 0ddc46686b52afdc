"""`release bundle` and `release verify` as their users run them."""

import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "config/calico.yaml"

Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.timeout(900)
"""The first test builds every package: a minute alone, several beside other work."""


@pytest.fixture
def own(dist: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may change."""
    shutil.copytree(dist, tmp_path / "dist")
    return tmp_path / "dist"


def states(directory: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in directory.rglob("*")}


def without_network_cidr(tmp_path: Path, cidr: str) -> Path:
    lines = CONFIG.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("calico_network_cidr:")]
    path = tmp_path / "config.yaml"
    path.write_text("\n".join([*kept, f"calico_network_cidr: {cidr}", ""]))
    return path


def test_the_layout_is_what_an_installer_expects(dist: Path) -> None:
    info = json.loads((dist / "cluster-package-info.json").read_bytes())
    latest = (dist / "bootstrap.latest").read_text().strip()
    packages = (dist / "cluster-package-list.latest").read_text().strip()
    held = {str(path.relative_to(dist)) for path in dist.rglob("*") if path.is_file()}
    assert held == {
        "SHA256SUMS",
        "bootstrap.latest",
        "cluster-package-info.json",
        "cluster-package-list.latest",
        "dcos_install.sh",
        "manifest.json",
        "sbom.json",
        f"bootstrap/{latest}.active.json",
        f"bootstrap/{latest}.bootstrap.tar.xz",
        f"package_lists/{packages}.package_list.json",
        *(about["filename"] for about in info.values()),
    }
    assert {"bird", "bootstrap", "calico", "conntrack", "dcos-config", "etcd", "nftables", "python"} <= info.keys()
    assert info["etcd"]["roles"] == ["master"]
    assert info["calico"]["roles"] == ["master", "slave", "slave_public"]


def test_sha256sum_agrees(dist: Path) -> None:
    subprocess.run(["sha256sum", "--quiet", "--strict", "--check", "SHA256SUMS"], cwd=dist, check=True)


def test_verify_accepts_it(release: Run, dist: Path) -> None:
    done = release("verify", dist)
    assert (done.returncode, done.stderr) == (0, "")
    assert "is in order" in done.stdout


def test_verify_tells_programs_too(release: Run, own: Path) -> None:
    assert json.loads(release("verify", own, "--format", "json").stdout)["status"] == "ok"
    (own / "sbom.json").write_text("{}")
    (own / "extra").write_text("")
    done = release("verify", own, "--format", "json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["status"]) == (1, "errors")
    assert {"sbom.json", "extra"} <= {problem["where"] for problem in document["problems"]}


def test_verify_lists_every_problem_and_exits_1(release: Run, own: Path) -> None:
    (own / "sbom.json").write_text("{}")
    (own / "bootstrap.latest").unlink()
    done = release("verify", own)
    assert done.returncode == 1
    assert "sbom.json: has sha256" in done.stderr
    assert "bootstrap.latest: is in SHA256SUMS and not in the bundle" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_run_builds_nothing_and_writes_nothing(release: Run, own: Path) -> None:
    before = states(own)
    done = release("bundle", "--config", CONFIG, "--output", own)
    assert done.returncode == 0, done.stderr
    assert "built: nothing; reused: bird, bootstrap, calico" in done.stdout
    assert "already there, byte for byte" in done.stdout
    assert states(own) == before


def test_the_last_lines_say_what_to_do_next(release: Run, own: Path) -> None:
    lines = release("bundle", "--config", CONFIG, "--output", own).stdout.splitlines()
    assert lines[-2].startswith("next: serve ")
    assert "curl -fLO" in lines[-1]
    assert "bash dcos_install.sh --pki DIR master" in lines[-1]
    assert "gen pki init PKI --config" in lines[-3]


def test_a_damaged_bundle_is_made_whole(release: Run, own: Path, dist: Path) -> None:
    next((own / "packages/etcd").iterdir()).write_bytes(b"damaged")
    (own / "packages/old").mkdir()
    done = release("bundle", "--config", CONFIG, "--output", own, "--format", "json")
    assert json.loads(done.stdout)["status"] == "written"
    subprocess.run(["diff", "-r", own, dist], check=True)
    assert [path.name for path in own.parent.iterdir()] == ["dist"]


def test_modes_do_not_depend_on_the_umask(release: Run, tmp_path: Path) -> None:
    output = tmp_path / "dist"
    assert release("bundle", "--config", CONFIG, "--output", output, umask=0o077).returncode == 0
    for path in (output, *output.rglob("*")):
        executable = path.is_dir() or path.name == "dcos_install.sh"
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if executable else 0o644), path


def test_another_configuration_is_another_dcos_config_and_no_other_package(
    release: Run, dist: Path, tmp_path: Path
) -> None:
    output = tmp_path / "dist"
    config = without_network_cidr(tmp_path, "172.30.0.0/16")
    done = release("bundle", "--config", config, "--output", output, "--format", "json")
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((each / "cluster-package-info.json").read_bytes()) for each in (dist, output))
    assert [name for name in one if one[name] != two[name]] == ["dcos-config"]
    assert (dist / "dcos_install.sh").read_bytes() != (output / "dcos_install.sh").read_bytes()
    assert (dist / "bootstrap.latest").read_bytes() == (output / "bootstrap.latest").read_bytes()


def test_a_key_nobody_knows_may_be_allowed(release: Run, dist: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + "site_code: 7\n")
    arguments = ("bundle", "--config", config, "--output", tmp_path / "dist")
    assert "site_code: nobody knows this key" in release(*arguments).stderr
    done = release(*arguments, "--allow-key", "site_code")
    assert (done.returncode, "site_code: passed over" in done.stderr) == (0, True), done.stderr
    one, two = (json.loads((each / "cluster-package-info.json").read_bytes()) for each in (dist, tmp_path / "dist"))
    assert one["dcos-config"] == two["dcos-config"]


def test_a_wrong_configuration_stops_before_anything_is_built(release: Run, tmp_path: Path) -> None:
    config = without_network_cidr(tmp_path, "10.0.0.1/33")
    output, build = tmp_path / "dist", tmp_path / "build"
    done = release("bundle", "--config", config, "--output", output, "--build-dir", build)
    assert done.returncode == 1
    assert "calico_network_cidr" in done.stderr
    assert not output.exists()
    assert not build.exists()
    document = json.loads(release("bundle", "--config", config, "--output", output, "--format", "json").stdout)
    assert "calico_network_cidr" in document["errors"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("bundle", "--config", "/nowhere.yaml", "--output", "{tmp}/dist"), 1, "/nowhere.yaml"),
        (("bundle", "--config", CONFIG, "--output", "{tmp}"), 1, "is neither empty nor a bundle"),
        (("bundle", "--config", CONFIG, "--output", "{tmp}/d", "--packages", "/nowhere"), 1, "/nowhere"),
        (("bundle", "--config", CONFIG), 2, "--output"),
        (("bundle", "--config", CONFIG, "--output", "{tmp}/d", "--jobs", "-1"), 2, "is not a number from 0 up"),
        (("verify", "/nowhere"), 1, "is not a directory"),
        (("verify",), 2, "DIR"),
        (("frobnicate",), 2, "invalid choice"),
    ],
)
def test_what_cannot_be_done_is_said_plainly(
    release: Run, tmp_path: Path, arguments: tuple[object, ...], status: int, message: str
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = release(*(str(each).format(tmp=tmp_path) for each in arguments))
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_programs_are_told_in_json(release: Run) -> None:
    done = release("verify", "/nowhere", "--format", "json")
    assert (done.returncode, json.loads(done.stdout)["problems"][0]["where"]) == (1, "/nowhere")


def test_a_second_run_in_one_build_directory_waits_for_the_first(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    command = [sys.executable, "-m", "release", "bundle", "--config", str(CONFIG), "--output", str(tmp_path / "dist")]
    with (tmp_path / "build/release.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        arguments = ["--build-dir", str(tmp_path / "build"), "--tree", "/nowhere.json"]
        process = subprocess.Popen(
            [*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert "waiting for another release command to end" in process.stdout.readline()
        assert process.poll() is None
    assert "/nowhere.json" in process.communicate()[1]
    assert process.returncode == 1


def test_a_run_killed_while_it_writes_leaves_the_old_bundle(own: Path, release: Run) -> None:
    (own / "packages/old").mkdir()
    before = states(own)
    draft = own.parent / ".dist.new"
    command = [sys.executable, "-m", "release", "bundle", "--config", str(CONFIG), "--output", str(own)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 60
        while not draft.exists():
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert states(own) == before
    assert draft.exists()
    assert release("bundle", "--config", CONFIG, "--output", own).returncode == 0
    assert release("verify", own).returncode == 0
    assert not draft.exists()


def test_the_bootstrap_tarball_is_two_packages_that_run(dist: Path, tmp_path: Path) -> None:
    tarball = next((dist / "bootstrap").glob("*.tar.xz"))
    subprocess.run(["tar", "-xJf", tarball, "-C", tmp_path], check=True)
    active = json.loads(next((dist / "bootstrap").glob("*.active.json")).read_bytes())
    assert sorted(path.name for path in (tmp_path / "packages").iterdir()) == active
    assert [identifier.partition("--")[0] for identifier in active] == ["bootstrap", "python"]
    pkgpanda = tmp_path / "packages" / active[0] / "bin/pkgpanda"
    done = subprocess.run(
        [pkgpanda, "--help"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage: pkgpanda" in done.stdout


def test_the_bill_of_materials_names_all_that_is_shipped(dist: Path) -> None:
    text = (dist / "sbom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = {each["name"]: each for each in json.loads(text)["components"] if "purl" in each}
    recipes = (json.loads(path.read_text()) for path in (ROOT / "packages").glob("*/buildinfo.json"))
    pinned = {
        source.get("package") or source.get("project")
        for recipe in recipes
        for source in recipe.get("sources", {}).values()
        if source["kind"] in ("deb", "pypi")
    }
    assert components.keys() == pinned
    for component in components.values():
        assert component["version"]
        assert component["licenses"]
        assert len(component["hashes"][0]["content"]) == 64
    excluded = {name for name, component in components.items() if component["scope"] == "excluded"}
    assert excluded == {"patchelf", "libstdc++6", "gcc-12-base"}
    assert components["zlib1g"]["licenses"] == [{"license": {"id": "Zlib"}}]
    assert components["pyyaml"]["purl"] == "pkg:pypi/pyyaml@6.0.3"


def test_no_document_knows_where_or_when_it_was_made(dist: Path) -> None:
    for path in dist.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".sh", ".latest", ""):
            content = path.read_bytes()
            assert str(ROOT).encode() not in content, path
            assert os.uname().nodename.encode() not in content or len(os.uname().nodename) < 6, path


def test_another_directory_umask_zone_and_language_give_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere, with a space"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name, follow_symlinks=False)
    environment = {
        "HOME": str(tmp_path / "home"),
        "PATH": os.environ["PATH"],
        "DCOS_CALICO_CACHE": os.environ.get("DCOS_CALICO_CACHE") or str(Path.home() / ".cache/dcos-calico"),
        "TZ": "Asia/Kathmandu",
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "7",
        "SOURCE_DATE_EPOCH": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "release", "bundle", "--config", "config/calico.yaml", "--output", "dist"],
        cwd=copy,
        env=environment,
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "reused: nothing" in done.stdout
    subprocess.run(["diff", "-r", copy / "dist", dist], check=True)
