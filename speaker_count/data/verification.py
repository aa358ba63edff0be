"""Verify pools while their sound is used."""

import threading

from speaker_count.data.pool import Pool
from speaker_count.errors import UserError


class Verification(threading.Thread):
    """Verifies pools; a daemon, so that a command that ends does not wait for it."""

    def __init__(self, *pools: Pool) -> None:
        super().__init__(name="verify", daemon=True)
        self._pools = pools
        self._problem: Exception | None = None

    def run(self) -> None:
        """Read the whole pools, unless they were verified before."""
        try:
            for pool in self._pools:
                pool.verify()
        except (OSError, UserError) as error:
            self._problem = error

    def check(self) -> None:
        """Raise what was found so far."""
        if self._problem is not None:
            raise self._problem
