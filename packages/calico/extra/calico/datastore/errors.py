"""What can go wrong with the datastore, told apart by what a caller can do about it."""


class DatastoreError(Exception):
    """The datastore refused or could not do what was asked. The text is one line for a user."""


class UnavailableError(DatastoreError):
    """No endpoint answered in time; nothing was changed. Trying again later may help."""


class IndeterminateError(DatastoreError):
    """A write was sent and no answer came back: it may or may not have happened. Read before doing it again."""


class PermissionDeniedError(DatastoreError):
    """The user or password is wrong, or the user may not touch these keys."""


class RelistError(DatastoreError):
    """The history a watch or a read needs is gone; only a fresh listing can tell the present state."""


class CompactedError(RelistError):
    """The revision asked for was compacted away. `revision` is the oldest one left, 0 when the server did not say."""

    def __init__(self, revision: int = 0) -> None:
        self.revision = revision
        super().__init__("the revision asked for was compacted")


class ReplacedError(RelistError):
    """Every endpoint agrees on a cluster that is not the one seen before: it was restored or rebuilt."""


class LeaseGoneError(DatastoreError):
    """The lease expired or was revoked, and its keys with it."""


class StaleMemberError(DatastoreError):
    """A member of another cluster, or one whose data is older than what was read before; it is not listened to."""

    def __init__(self, text: str, cluster: int) -> None:
        self.cluster = cluster
        super().__init__(text)


class NotReachedError(DatastoreError):
    """One endpoint could not be asked, or said that it did nothing; another one may be asked without harm."""


class NoAnswerError(DatastoreError):
    """One endpoint was asked and gave no answer, so that a write may have happened."""


class TokenError(DatastoreError):
    """The session token is missing, expired or of an older set of users: authenticate, then ask again."""
