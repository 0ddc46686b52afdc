"""An S3 server for tests: moto's, an independent implementation of S3's protocol, in memory, on a loopback address.

It is no Amazon S3: it checks no signatures and enforces no policies. What it does have is the protocol: buckets,
objects with metadata, listings in pages, multipart uploads with their parts and ETags.
"""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_DEADLINE = 60.0
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class S3Server:
    """A process of ours; `bucket` is made at its start."""

    def __init__(self, directory: Path, bucket: str = "downloads") -> None:
        self.bucket = bucket
        self._log = directory / "s3.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> "S3Server":
        """Start it on a free port, and wait until it answers."""
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with self._log.open("wb") as log:
            environment = {**os.environ, **_CREDENTIALS}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        end = time.monotonic() + _DEADLINE
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError(f"no S3 server: {self._log.read_text()[-500:]}")
            time.sleep(0.2)
        self.client().create_bucket(Bucket=self.bucket)
        return self

    def stop(self) -> None:
        """End it, with all it holds."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def client(self) -> Any:
        """A client of the test's own."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
