"""What a plugin answers when it cannot do what it was asked: CNI's error object."""

from typing import Any

INCOMPATIBLE, UNSUPPORTED, BAD_ENVIRONMENT, IO_FAILURE, BAD_JSON, BAD_CONFIG, TRY_AGAIN = 1, 2, 4, 5, 6, 7, 11
UNAVAILABLE = 50
FAILED = 100
"""Codes of the CNI specification; from 100 on they are the plugin's own, and upstream knows only this one."""


class CniError(Exception):
    """A refusal: `code` for the runtime, the text for whoever reads its log."""

    def __init__(self, message: str, code: int = FAILED, details: str = "") -> None:
        super().__init__(message)
        self.code, self.details = code, details

    def document(self, cni_version: str) -> dict[str, Any]:
        """The object as the runtime reads it."""
        found: dict[str, Any] = {"cniVersion": cni_version, "code": self.code, "msg": str(self)}
        if self.details:
            found["details"] = self.details
        return found
