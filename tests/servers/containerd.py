"""Debian's containerd on a `docker.Host`: its CRI plugin, and `ctr`. Both read the host's own CNI directories."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.servers import debian, docker
from tests.servers.cri import Cri

PAUSE = "localhost/pause:1"
_DEADLINE = 60.0
_CONFIG = """
version = 2
root = "{base}/root"
state = "/run/containerd"
[grpc]
  address = "{base}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{base}/net.d"
"""


class Containerd:
    """containerd, with the CNI plugins of a directory and one network configuration."""

    def __init__(self, host: docker.Host, plugins: Path, network: Mapping[str, object]) -> None:
        self.host, self.plugins = host, plugins
        base = self.base = host.directory
        self.log, self.socket = base / "containerd.log", base / "c.sock"
        (base / "net.d").mkdir()
        (base / "net.d/10-calico.conflist").write_text(json.dumps(network))
        (base / "config.toml").write_text(_CONFIG.format(base=base, pause=PAUSE, plugins=plugins))
        loopback = debian.unpacked("containernetworking-plugins") / "usr/lib/cni/loopback"
        shutil.copy(loopback, plugins / "loopback")
        # ctr has no options for these: /etc/cni/net.d and /opt/cni/bin are the host's own.
        host.run("sh", "-c", _CTR_DIRECTORIES.format(base=base, plugins=plugins))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Containerd":
        """Start it, wait until it answers, and give it the image that a sandbox runs."""
        environment = {**os.environ, **docker.environment()}
        words = ["containerd", "--config", str(self.base / "config.toml")]
        self._process = self.host.start(words, self.log, environment)
        docker.wait_for(lambda: self.ctr("version", check=False).returncode == 0, "containerd answers")
        archive = self.base / "pause.tar"
        archive.write_bytes(_pause_image())
        self.ctr("--namespace", "k8s.io", "images", "import", "--snapshotter", "native", str(archive))
        return self

    @property
    def cri(self) -> Cri:
        """The runtime interface."""
        return Cri(self.socket)

    def ctr(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `ctr` on the host."""
        return self.host.run("ctr", "--address", str(self.socket), *words, check=check)

    def rootfs(self) -> Path:
        """A root with busybox, for a container of ctr's."""
        root = self.base / "rootfs"
        with tarfile.open(fileobj=io.BytesIO(_busybox_layer())) as layer:
            layer.extractall(root)
        return root

    def tail(self) -> str:
        """The last lines of its log, for a failing test."""
        return self.log.read_text(errors="replace")[-3000:]

    def remove(self) -> None:
        """End it and what it runs, and remove its control groups."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_DEADLINE)
        for number in (signal.SIGKILL, signal.SIGKILL):
            for pid in self._pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        docker.wait_for(lambda: not self._pids(), "its processes end")
        groups = [*Path("/sys/fs/cgroup").glob(f"*/{self.host.name}"), Path(f"/sys/fs/cgroup/{self.host.name}")]
        for group in groups:
            for directory, _, _ in os.walk(group, topdown=False):
                with suppress(OSError):
                    os.rmdir(directory)

    def _pids(self) -> list[int]:
        """Processes with the host's directory on their command line, or in its control groups."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    words, groups = (entry / "cmdline").read_bytes(), (entry / "cgroup").read_text()
                    if str(self.base).encode() in words or f"/{self.host.name}" in groups:
                        found.append(int(entry.name))
        return found


_CTR_DIRECTORIES = """
set -e
mkdir -p /run/etc/upper /run/etc/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work overlay /etc
mount -t tmpfs tmpfs /opt
mkdir -p /etc/cni/net.d /opt/cni/bin
cp {base}/net.d/* /etc/cni/net.d/
cp {plugins}/* /opt/cni/bin/
"""


def _busybox_layer() -> bytes:
    """A root with a static busybox, as a tar."""
    busybox = debian.unpacked("busybox-static") / "bin/busybox"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as layer:
        for name in ("bin", "etc", "proc", "sys", "tmp", "dev"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            layer.addfile(entry)
        layer.add(busybox, "bin/busybox")
        for name in ("sh", "sleep", "ip", "nc", "echo", "cat"):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            layer.addfile(entry)
    return stream.getvalue()


def _pause_image() -> bytes:
    """An image whose command greets whoever connects to port 8080, in the form of `docker save`."""
    layer = _busybox_layer()
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/bin/nc", "-ll", "-p", "8080", "-e", "/bin/echo", "hello"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]).encode()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as image:
        for name, content in (("config.json", config), ("layer.tar", layer), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            image.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
