"""calicoctl as a process: TLS and users, a datastore that is away, a watch, a closed pipe."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from release.calicoctl import build_zipapp
from tests.servers.etcd import PASSWORD, USER, local_cluster

from .conftest import EXTRA, Program

_POOL = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: %s}\nspec: {cidr: %s}\n"


def test_certificates_and_a_password_file_from_the_configuration(tmp_path: Path) -> None:
    cluster = local_cluster(tmp_path, secure=True)
    try:
        calicoctl = Program(cluster, tmp_path)
        pki = cluster.directory / "pki"
        spec = {
            "etcdEndpoints": cluster.urls[0],
            "etcdCACertFile": str(pki / "ca.crt"),
            "etcdCertFile": str(pki / "client.crt"),
            "etcdKeyFile": str(pki / "client.key"),
            "etcdUsername": USER,
            "etcdPasswordFile": str(cluster.directory / "password"),
        }
        config = {"apiVersion": "projectcalico.org/v3", "kind": "CalicoAPIConfig", "spec": spec}
        calicoctl.file("good.cfg", json.dumps(config))
        assert calicoctl("apply", "-c", "good.cfg", "-f", "-", stdin=_POOL % ("a", "10.1.0.0/16")).code == 0
        assert "10.1.0.0/16" in calicoctl("get", "pool", "-c", "good.cfg").out
        calicoctl.file("bad-password", "wrong\n")
        spec["etcdPasswordFile"] = "bad-password"
        calicoctl.file("bad.cfg", json.dumps(config))
        refused = calicoctl("get", "pool", "-c", "bad.cfg")
        assert refused.code == 1
        assert len(refused.err.splitlines()) == 1
        assert PASSWORD not in refused.err and "wrong" not in refused.err.split()
    finally:
        cluster.stop()


def test_the_one_file_build_works_from_anywhere_over_tls(tmp_path: Path) -> None:
    program = tmp_path / "calicoctl"
    program.write_bytes(build_zipapp(EXTRA / "calico", Path(yaml.__file__).parent, "0123456789ab"))
    program.chmod(0o755)
    cluster = local_cluster(tmp_path, secure=True)
    environment = {
        "PATH": "/usr/bin:/bin",
        "ETCD_ENDPOINTS": cluster.urls[0],
        "ETCD_CA_CERT_FILE": str(cluster.directory / "pki/ca.crt"),
        "ETCD_CERT_FILE": str(cluster.directory / "pki/client.crt"),
        "ETCD_KEY_FILE": str(cluster.directory / "pki/client.key"),
        "ETCD_USERNAME": USER,
        "ETCD_PASSWORD": PASSWORD,
    }

    def run(*words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program, *words], input=stdin, env=environment, cwd="/", capture_output=True, text=True, check=False
        )

    try:
        applied = run("apply", "-f", "-", stdin=_POOL % ("a", "10.1.0.0/16"))
        assert (applied.returncode, applied.stderr) == (0, "")
        assert "10.1.0.0/16" in run("get", "pool", "-o", "yaml").stdout
        assert "Git commit:        0123456789ab" in run("version").stdout
        environment["ETCD_CA_CERT_FILE"] = environment["ETCD_CERT_FILE"]
        assert run("get", "pool").returncode == 1, "a server that its authority does not vouch for"
    finally:
        cluster.stop()


def test_a_datastore_that_is_away_is_one_line_and_soon(calicoctl: Program) -> None:
    calicoctl.environment["ETCD_ENDPOINTS"] = "http://127.0.0.1:1"
    begin = time.monotonic()
    result = calicoctl("get", "pool")
    assert (result.code, result.out, len(result.err.splitlines())) == (1, "", 1)
    assert "http://127.0.0.1:1" in result.err
    assert time.monotonic() - begin < 20


def test_a_watch_prints_changes_as_they_happen_and_ends_when_interrupted(calicoctl: Program) -> None:
    calicoctl("apply", "-f", "-", stdin=_POOL % ("a", "10.1.0.0/16"))
    watch = subprocess.Popen(
        [*calicoctl.command, "get", "pool", "--watch", "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=calicoctl.environment,
    )
    assert watch.stdout is not None and watch.stderr is not None
    first = json.loads(watch.stdout.readline())
    calicoctl("apply", "-f", "-", stdin=_POOL % ("b", "10.2.0.0/16"))
    second = json.loads(watch.stdout.readline())
    watch.send_signal(signal.SIGINT)
    assert watch.wait(10) == 130
    assert watch.stderr.read() == ""
    assert [(one["type"], one["object"]["metadata"]["name"]) for one in (first, second)] == [
        ("ADDED", "a"),
        ("ADDED", "b"),
    ]


def test_a_reader_that_goes_away_is_no_error_to_see(calicoctl: Program) -> None:
    sets = "---\n".join(
        f"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{name: s{index}}}\nspec: {{}}\n"
        for index in range(400)
    )
    assert calicoctl("apply", "-f", "-", stdin=sets).code == 0
    command = " ".join([*calicoctl.command, "get", "gnetsets", "-o", "yaml"])
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -n 1"], capture_output=True, text=True, env=calicoctl.environment, check=True
    )
    assert done.stderr == ""


def test_the_launcher_finds_its_python_and_modules_beside_itself_through_links(
    calicoctl: Program, tmp_path: Path
) -> None:
    python, package = tmp_path / "packages/python--1/bin", tmp_path / "packages/calico--2"
    python.mkdir(parents=True)
    (python / "python3").symlink_to(sys.executable)
    shutil.copytree(EXTRA / "calico", package / "usr/lib/python/calico")
    shutil.copy(EXTRA / "run.py", package / "usr/lib/python")
    (package / "bin").mkdir()
    program = package / "bin/calicoctl"
    program.write_text((EXTRA / "bin/calicoctl").read_text().replace("@PYTHON@", "python--1"))
    program.chmod(0o755)
    (tmp_path / "bin").symlink_to("packages/calico--2/bin")
    done = subprocess.run(
        [tmp_path / "bin/calicoctl", "version"],
        capture_output=True,
        text=True,
        check=False,
        env={**calicoctl.environment, "PYTHONPATH": "/nonexistent"},
    )
    assert done.stdout == "Client Version:    v3.14.0\nGit commit:        calico--2\n"


def test_closed_streams_and_a_full_disk(calicoctl: Program) -> None:
    calicoctl("apply", "-f", "-", stdin=_POOL % ("a", "10.1.0.0/16"))
    command = " ".join([*calicoctl.command, "get", "pool"])
    ends = {
        "<&-": (0, ""),
        ">&-": (0, ""),
        ">/dev/full": (1, "the output cannot be written: No space left on device\n"),
    }
    for redirection, expected in ends.items():
        done = subprocess.run(
            ["sh", "-c", f"{command} {redirection}"],
            capture_output=True,
            text=True,
            check=False,
            env=calicoctl.environment,
        )
        assert (done.returncode, done.stderr) == expected, redirection
