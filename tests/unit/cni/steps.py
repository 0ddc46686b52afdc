"""Counts the calls an operation makes, and has one of them go wrong."""

from collections.abc import Callable

from tests.unit.ipam.actors import Crash, Fate

BAD_FATES = tuple(one for one in Fate if one is not Fate.DONE)


class Steps:
    """The calls to the datastore and to the kernel of one process."""

    def __init__(self) -> None:
        self.count, self.bad, self.fate = 0, -1, Fate.DONE

    def arm(self, number: int, fate: Fate) -> None:
        """Let the `number`th call from now on have this fate; -1: none."""
        self.count, self.bad, self.fate = 0, number, fate

    def disarm(self) -> None:
        """Let every call be done."""
        self.arm(-1, Fate.DONE)

    def gate(self) -> Fate:
        """The fate of the next call."""
        self.count += 1
        if self.count - 1 == self.bad:
            return self.fate
        # Who is dead makes no further call, whatever Python still runs on the way out.
        is_dead = 0 <= self.bad < self.count and self.fate in (Fate.CRASH_BEFORE, Fate.CRASH_AFTER)
        return Fate.CRASH_BEFORE if is_dead else Fate.DONE

    def die_perhaps(self) -> None:
        """The same, of the kernel, whose answers are never lost."""
        if self.gate() in (Fate.CRASH_BEFORE, Fate.CRASH_AFTER):
            raise Crash

    def calls_of(self, work: Callable[[], object]) -> int:
        """How many calls an operation makes."""
        self.disarm()
        work()
        return self.count
