"""Debian's podman on a `docker.Host`, with CNI as its network backend and containers from a plain root directory."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.servers import debian, docker

_PACKAGES = (
    "podman",
    "conmon",
    "runc",
    "libgpgme11",
    "libassuan0",
    "libsubid4",
    "libseccomp2",
    "libdevmapper1.02.1",
)
_CONTAINERS = """
[containers]
default_sysctls = []
cgroupns = "host"
[network]
network_backend = "cni"
cni_plugin_dirs = ["{plugins}"]
network_config_dir = "{base}/podman-net.d"
default_network = "calico"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
conmon_path = ["{root}/usr/bin/conmon"]
[engine.runtimes]
runc = ["{root}/usr/sbin/runc", "{root}/usr/bin/runc"]
"""
_STORAGE = """
[storage]
driver = "vfs"
graphroot = "{base}/podman/graph"
runroot = "{base}/podman/run"
"""


class Podman:
    """podman, which has no daemon: each container is a conmon of its own."""

    def __init__(self, host: docker.Host, plugins: Path, network: Mapping[str, object]) -> None:
        self.host, self._root = host, debian.unpacked(*_PACKAGES)
        base = host.directory
        (base / "podman-net.d").mkdir()
        (base / "podman-net.d/10-calico.conflist").write_text(json.dumps(network))
        (base / "containers.conf").write_text(_CONTAINERS.format(base=base, plugins=plugins, root=self._root))
        (base / "storage.conf").write_text(_STORAGE.format(base=base))

    def __call__(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `podman`."""
        base = self.host.directory
        libraries = f"{self._root}/usr/lib/x86_64-linux-gnu:{self._root}/lib/x86_64-linux-gnu"
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": libraries,
            "CONTAINERS_CONF": f"{base}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{base}/storage.conf",
            "PATH": f"{self._root}/usr/bin:{self._root}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(base),
        }
        done = subprocess.run(
            self.host.command(str(self._root / "usr/bin/podman"), "--log-level=error", *words),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=environment,
        )
        if check and done.returncode:
            raise RuntimeError(f"podman {' '.join(words)}: {done.stdout}{done.stderr}")
        return done
