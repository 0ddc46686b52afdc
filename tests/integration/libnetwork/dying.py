"""The plugin, made to die at one call: `dying.py <call> before|after`. Only the first such call kills it.

`before`: the call was received, and nothing done; `after`: everything was done, and nothing answered.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "packages/calico/extra"))

from calico.libnetwork import plugin, server
from calico.libnetwork.journal import Call
from calico.libnetwork.server import Handler

_CALL, _WHEN = sys.argv[1:3]
_answer = server._answer


def _dying_answer(name: str, handler: Handler, document: Mapping[str, Any], call: Call) -> tuple[int, Any]:
    if name == _CALL and _WHEN == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = _answer(name, handler, document, call)
    if name == _CALL:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer


server._answer = _dying_answer
del sys.argv[1:]
sys.exit(plugin.main())
