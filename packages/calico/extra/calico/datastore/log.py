"""Lines for the log. `logging` costs a short command 20 ms, so it is imported by the first line there is to write."""

from typing import Any


def warning(message: str, *arguments: Any) -> None:
    """One line at level WARNING, with %-arguments."""
    import logging

    logging.getLogger("calico.datastore").warning(message, *arguments)


def info(message: str, *arguments: Any) -> None:
    """One line at level INFO, with %-arguments."""
    import logging

    logging.getLogger("calico.datastore").info(message, *arguments)
