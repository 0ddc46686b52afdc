"""ZooKeeper for tests: one server of Debian's on an address of the caller's; its data survives `kill` and `start`."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.servers import debian

_PACKAGES = (
    "libzookeeper-java",
    "openjdk-17-jre-headless",
    "libslf4j-java",
    "libdropwizard-metrics-java",
    "libnetty-java",
    "libsnappy-java",
    "libcommons-io-java",
    "libcommons-cli-java",
)
_DEADLINE = 30.0


class ZooKeeper:
    """A standalone server at `address`:2181; `prefix` are the words before its command line (`ip netns exec x`)."""

    def __init__(self, directory: Path, address: str, prefix: Sequence[str] = ()) -> None:
        directory.mkdir(parents=True)
        self.server = f"{address}:2181"
        self._directory, self._prefix = directory, prefix
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "zoo.cfg").write_text(
            f"dataDir={directory}/data\nclientPortAddress={address}\nclientPort=2181\ntickTime=500\n"
            "admin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=srvr\n"
        )

    def start(self) -> "ZooKeeper":
        """Start it; it is not waited for."""
        root = debian.unpacked(*_PACKAGES)
        java = root / "usr/lib/jvm/java-17-openjdk-amd64"
        memory = ["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        # Debian's JVM looks for its settings in /etc; these are where they were unpacked.
        settings = [f"-Djava.security.properties=={root}/etc/java-17-openjdk/security/java.security"]
        command = [str(java / "bin/java"), *memory, *settings, "-cp", f"{root}/usr/share/java/*"]
        command += ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self._directory / "zoo.cfg")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen([*self._prefix, *command], stdout=log, stderr=log)
        return self

    def wait(self) -> "ZooKeeper":
        """Return when it takes connections."""
        until = time.monotonic() + _DEADLINE
        while not self._answers():
            if time.monotonic() > until:
                raise TimeoutError((self._directory / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.1)
        return self

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_DEADLINE)
            self._process = None

    def _answers(self) -> bool:
        address, _, port = self.server.partition(":")
        probe = f"exec 3<>/dev/tcp/{address}/{port} && echo srvr >&3 && grep -q Mode <&3"
        try:
            done = subprocess.run([*self._prefix, "bash", "-c", probe], capture_output=True, check=False, timeout=3)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0
