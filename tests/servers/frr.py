"""FRR's zebra and bgpd for tests: Debian's, in a network namespace of the caller's."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.servers import debian

_PACKAGES = (
    *("frr", "libyang2", "libpcre2-8-0", "libjson-c5", "libcap2", "libc-ares2", "libreadline8", "libtinfo6"),
    *("libpam0g", "libcrypt1", "libaudit1", "libcap-ng0", "libelf1", "zlib1g"),
)
_DEADLINE = 20.0
_WITH_GROUPS = 'mount --bind "$0" /etc/group && exec "$@"'


class Frr:
    """A router with its files in `directory`; `prefix` are the words before its command lines."""

    def __init__(self, directory: Path, prefix: Sequence[str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._prefix = directory, list(prefix)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, config: str) -> "Frr":
        """Start both daemons with `config`; they are not waited for."""
        root = debian.unpacked(*_PACKAGES)
        libraries = [f"{root}/{path}/x86_64-linux-gnu" for path in ("usr/lib", "lib")]
        environment = {**os.environ, "LD_LIBRARY_PATH": ":".join([*libraries, f"{libraries[0]}/frr"])}
        file, groups = self._directory / "frr.conf", self._directory / "group"
        file.write_text(config)
        # Debian's build asks for a group that its installation makes.
        groups.write_text(f"{Path('/etc/group').read_text()}frrvty:x:64321:root\n")
        private = ["unshare", "-m", "--propagation", "private", "sh", "-c", _WITH_GROUPS, str(groups)]
        for name in ("zebra", "bgpd"):
            command = [
                *self._prefix,
                *private,
                f"{root}/usr/lib/frr/{name}",
                "-u",
                "root",
                "-g",
                "root",
                "-f",
                str(file),
                "-P",
                "0",
            ]
            command += ["-i", str(self._directory / f"{name}.pid"), "-z", str(self._directory / "zserv.api")]
            command += ["--vty_socket", str(self._directory), "--moduledir", f"{libraries[0]}/frr/modules"]
            command += ["--log", "stdout"]
            with (self._directory / f"{name}.log").open("ab") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            self._processes.append(process)
        return self

    def stop(self) -> None:
        """End both."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_DEADLINE)
        self._processes.clear()

    def log(self) -> str:
        """The last of what both said."""
        texts = (path.read_text(errors="replace")[-2000:] for path in sorted(self._directory.glob("*.log")))
        return "\n".join(texts)
