"""How many documents a command handled, and upstream's sentences about it."""

from collections.abc import Sequence

from calico.calicoctl.session import Session

_PAST = {"create": "created", "apply": "applied", "replace": "replaced", "delete": "deleted"}
DRY = " (dry run: nothing was changed)"


class Tally:
    """Counts the documents of one command. `kinds` are those of all documents, in order."""

    def __init__(self, operation: str, kinds: Sequence[str], dry_run: bool = False) -> None:
        self._operation, self._past = operation, _PAST[operation]
        self._all = len(kinds)
        self._kind = f"'{kinds[0]}' " if len(set(kinds)) == 1 else ""
        self._suffix = DRY if dry_run else ""
        self._handled = 0
        self._errors: list[str] = []
        self._in_front = True

    def handled(self) -> None:
        """One more document did what was asked."""
        self._in_front = self._in_front and not self._errors
        self._handled += 1

    def failed(self, error: str) -> None:
        """One more document did not."""
        self._errors.append(error)

    def gave_up(self, error: str) -> None:
        """One more document did not, and those behind it are not tried: the datastore is gone."""
        left = self._all - self._handled - len(self._errors) - 1
        self.failed(f"{error}; {left} more not tried" if left else error)

    def report(self, session: Session) -> int:
        """Say how it went; the exit code."""
        if not self._errors:
            session.say(f"Successfully {self._past} {self._handled} {self._kind}resource(s){self._suffix}")
            return 0
        errors = "\n".join(self._errors)
        if self._handled:
            session.say(self._partial())
            hit = "Hit error" if self._operation == "create" else "Hit error(s)"
            session.complain(f"{hit}: [{errors}]")
        elif self._all == 1:
            session.complain(f"Failed to {self._operation} {self._kind}resource: [{errors}]")
        else:
            session.complain(f"Failed to {self._operation} any {self._kind}resources: [{errors}]")
        return 1

    def _partial(self) -> str:
        """Upstream's "the first N" only where it is true that the handled ones came first."""
        first = "the first " if self._in_front else ""
        return (
            f"Partial success: {self._past} {first}{self._handled} out of {self._all} {self._kind}resources:"
            f"{self._suffix}"
        )

    def report_deletions(self, session: Session) -> int:
        """Say how deletions went, a line for each that failed; the exit code."""
        if self._handled:
            session.say(f"Successfully {self._past} {self._handled} {self._kind}resource(s){self._suffix}")
        for error in self._errors:
            session.complain(f"Failed to {self._operation} {self._kind}resource: {error}")
        return 1 if self._errors else 0
