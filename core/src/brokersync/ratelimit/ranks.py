"""In which order those go who wait for one broker."""

from __future__ import annotations

from typing import final

from brokersync.ratelimit.applying import LimitedCall

_FEWEST_TO_SWEEP = 64


@final
class Ranks:
    """Who came first is first, but who passed others in the middle of its page lets as many pass before its next one.

    Else an owner whose pages take ten calls would have ten where all others have one.
    """

    def __init__(self) -> None:
        self._arrived = 0
        self._until: dict[str, int] = {}
        self._sweep_at = _FEWEST_TO_SWEEP

    def arrive(self, call: LimitedCall, passed: int) -> tuple[int, int]:
        """The number of a call that goes before so many others, and that of the last that is to go before it."""
        self._arrived += 1
        number = self._arrived
        if not (call.waiter and (call.continues or self._until)):
            return number, number
        last = max(number, self._until.get(call.waiter, 0))
        if call.continues:
            if passed:
                self._until[call.waiter] = last + passed + 1
                self._sweep()
            return number, number
        return number, last

    def yields(self, last: int) -> bool:
        """Whether more may come that go before one."""
        return last > self._arrived

    def went(self, call: LimitedCall) -> None:
        """Whoever it had to let pass has passed, or was not there."""
        if self._until and not call.continues:
            self._until.pop(call.waiter, None)

    def _sweep(self) -> None:
        if len(self._until) >= self._sweep_at:
            self._until = {waiter: last for waiter, last in self._until.items() if last > self._arrived}
            self._sweep_at = max(_FEWEST_TO_SWEEP, 2 * len(self._until))
