"""The observer as a child process, and what it has seen."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calico.datastore.etcd import EtcdSettings

_ROOT = Path(__file__).resolve().parents[3]
NOTICED_WITHIN = 15.0


class Observer:
    """A running observer. `state` is what its updates add up to."""

    def __init__(self, settings: EtcdSettings, prefix: Sequence[str] = ()) -> None:
        command = [
            *prefix,
            *("setpriv", "--pdeathsig", "KILL"),
            sys.executable,
            "-m",
            "tests.integration.datastore.observer",
            json.dumps(settings._asdict()),
        ]
        paths = os.pathsep.join([str(_ROOT), str(_ROOT / "packages/calico/extra")])
        environment = {**os.environ, "PYTHONPATH": paths}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.state: dict[str, str] = {}
        self.revisions: list[int] = []
        self.synced = 0
        self.member = ""

    def wait(self, what: str, timeout: float, until: Any) -> float:
        """Take lines until `until()` is true; the seconds it took. Fails the test when it does not happen."""
        begin = time.monotonic()
        while not until():
            left = begin + timeout - time.monotonic()
            assert left > 0, f"{what}: not within {timeout} s; state {self.state}, synced {self.synced} times"
            try:
                self._take(self._lines.get(timeout=left))
            except queue.Empty:
                continue
        return time.monotonic() - begin

    def wait_for(self, key: str, value: str | None, timeout: float = NOTICED_WITHIN) -> float:
        """Wait until `/calico/test/<key>` has this value (None: is gone)."""
        return self.wait(f"{key}={value}", timeout, lambda: self.state.get(f"/calico/test/{key}") == value)

    def cpu(self) -> float:
        """Seconds of processor time used so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(10)
        self._thread.join(5)

    def _take(self, line: dict[str, Any]) -> None:
        if "in_sync" in line:
            self.synced += 1
        elif "member" in line:
            self.member = line["member"]
        elif line["value"] is None:
            self.state.pop(line["update"], None)
            self.revisions.append(line["revision"])
        else:
            self.state[line["update"]] = line["value"]
            self.revisions.append(line["revision"])

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
