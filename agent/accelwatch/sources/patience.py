"""How long a vendor's tool is waited for: one call that does not return may be chance, two in a row are the tool."""

from __future__ import annotations

from collections.abc import Sequence

from accelwatch.clock import Clock
from accelwatch.sources.base import SourceError, SourceTimeout
from accelwatch.sources.commands import Output, Runner

# What the second attempt may take of the deadline of a call: a driver that blocks as a whole is to be told within two
# deadlines, with the start of another worker, or the end of what was killed.
SECOND_SHARE = 0.6


class Patience:
    """A `Runner` for the calls of one source to one tool."""

    def __init__(self, runner: Runner, clock: Clock) -> None:
        self._runner = runner
        self._clock = clock
        self._since: float | None = None  # when the first call began of those in a row that did not return
        self._tried = False  # the second of them was made

    @property
    def blocked(self) -> bool:
        """The last call ran into its deadline."""
        return self._since is not None

    def run(self, argv: Sequence[str], timeout: float) -> Output:
        """See `Runner.run`; `SourceTimeout.repeated` from the second call on that does not return."""
        began = self._clock.monotonic()
        second = self._since is not None and not self._tried
        try:
            output = self._runner.run(argv, SECOND_SHARE * timeout if second else timeout)
        except SourceTimeout as error:
            error.repeated = self._tried = self._since is not None
            if self._since is None:
                self._since = began
            error.waited = self._clock.monotonic() - self._since  # with the time that it took to end what was killed
            raise
        except SourceError:
            self._since, self._tried = None, False  # it has ended, badly
            raise
        self._since, self._tried = None, False
        return output


def give_up_if_blocked(error: SourceError) -> None:
    """Raises a failure that is the whole tool's: the other calls of the poll would wait as long, each for itself."""
    if isinstance(error, SourceTimeout) and error.repeated:
        raise error
