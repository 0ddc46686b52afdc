"""From a text to a BIRD that runs with it: checked, replaced in one rename, reloaded, each only when there is need.

A text is written beside the configuration, `bird -p` reads it, and only then it takes the configuration's place: BIRD
never finds half a file or one that it refuses, whenever it starts. Then BIRD is told, and its answer is looked at. A
BIRD that is not running reads the file when it starts; until BIRD has said yes once, every call tells it again.
"""

import logging
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from calico.confd import control
from calico.daemon.files import sync_directory
from calico.daemon.log import fields

CONFIG = "/var/lib/calico/bird/bird.cfg"
_CHECK_TIMEOUT = 30.0
_log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What one call did. `error` says why BIRD does not run with the text, and what to do; empty when it does."""

    written: bool = False
    reloaded: bool = False
    error: str = ""


class Applier:
    """Keeps BIRD's configuration at `config` equal to the last text given. `bird` is the program, `control_socket` the
    running daemon's. One thread at a time."""

    def __init__(self, config: str, bird: str, control_socket: str) -> None:
        self._config, self._bird, self._socket = Path(config), bird, control_socket
        self._loaded = False
        self._refused = ("", "")

    def apply(self, text: str) -> Outcome:
        """Have BIRD run with `text`. What is there already is neither written nor loaded again."""
        written = False
        if self._present() != text:
            if error := self._check_and_replace(text):
                return Outcome(error=error)
            written, self._loaded = True, False
        if self._loaded:
            return Outcome()
        try:
            self._reload()
        except control.ControlError as error:
            return Outcome(written, error=str(error))
        self._loaded = True
        return Outcome(written, reloaded=True)

    def _present(self) -> str | None:
        try:
            return self._config.read_text()
        except (OSError, UnicodeError):
            return None

    def _check_and_replace(self, text: str) -> str:
        """What keeps `text` from taking the configuration's place; empty when it did. A refused text is not tried
        again."""
        if self._refused[0] == text:
            return self._refused[1]
        staged = self._config.with_name(f"{self._config.name}.staged")
        try:
            _write(staged, text)
            if error := check(self._bird, staged):
                self._refused = (text, error)
                return error
            staged.replace(self._config)
            sync_directory(self._config.parent)
        except OSError as error:
            return f"{self._config}: cannot be written: {error.strerror or error} (is the disk full, or read-only?)"
        finally:
            staged.unlink(missing_ok=True)
        self._refused = ("", "")
        _log.info("wrote BIRD's configuration %s", fields(file=self._config, bytes=len(text)))
        return ""

    def _reload(self) -> None:
        reply = control.ask(self._socket, "configure")
        _check_path(reply, self._config)
        _log.info("BIRD reloaded %s", fields(answer=reply[-1].text))


def _check_path(reply: list[control.Line], config: Path) -> None:
    """BIRD reads the file it was started with; one that reads another's runs without ours."""
    read = next((line.text.removeprefix("Reading configuration from ") for line in reply if line.code == 2), "")
    if read and Path(read) != config:
        message = f"BIRD reads its configuration from {read}, not from {config}"
        raise control.ControlError(message, f"start it with -c {config}, as dcos-calico-bird does")


def check(bird: str, path: Path) -> str:
    """What BIRD says against the configuration at `path`; empty when it takes it."""
    try:
        done = subprocess.run(
            [bird, "-p", "-c", str(path)], capture_output=True, text=True, timeout=_CHECK_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{bird}: cannot check the configuration: {error} (is the package bird active?)"
    if done.returncode == 0:
        return ""
    said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
    return f"BIRD refuses the new configuration, the old one stays: {said} (a defect of calico-confd: please report it)"


def _write(path: Path, text: str) -> None:
    """A file that only root reads, on the disk before it is used."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
