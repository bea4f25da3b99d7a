"""How long does a verb wait for its database, and what does it say meanwhile?

Two kinds of waiting: a database that asks to repeat a transaction (deadlock, conflict) is asked
again at once, a few times; a server that went away is asked again until the patience is over.  The
waiting of SQLite's writers for one another is in `registry.database.opening`.
"""

from __future__ import annotations

import random
import time

import sqlalchemy as sa

from registry.database.failures import may_be_repeated, was_lost
from registry.database.opening import seconds_of
from registry.database.waiting import SAY_AFTER, say

__all__ = ["ATTEMPTS", "Patience", "patience_of"]

ATTEMPTS = 8
"""How often a verb is tried when the database asks to repeat it: deadlock, conflict or busy."""
_SERVER_SECONDS = 30.0
_LOOKS = 0.05, 1.0
"""How soon a server that is away is looked for again: at first, and at most [s]."""


def patience_of(url: str | sa.URL) -> float:
    """Tell how long a verb waits for a server that went away, unless its URL says it [s].

    ``?timeout=`` in the URL of a server; SQLite has none, and its ``?timeout=`` is for writers that
    wait for one another.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return 0.0
    return seconds_of(parsed, _SERVER_SECONDS)


class Patience:
    """What is left of the patience of one verb.

    Parameters
    ----------
    url : str
        What messages call the database.
    seconds : float
        How long a server that went away is waited for, in all [s].
    """

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._attempts = 0
        self._away_since = 0.0
        self._said = False
        self._pause = _LOOKS[0]

    def waited(self, cause: BaseException | None) -> bool:
        """Wait before the next attempt; False when there shall be none.

        Parameters
        ----------
        cause : Exception
            The driver's error.
        """
        if may_be_repeated(cause):
            self._attempts += 1
            if self._attempts == ATTEMPTS:
                return False
            time.sleep(random.uniform(0, 0.01 * 2**self._attempts))  # noqa: S311 (spreads writers)
            return True
        now = time.monotonic()
        self._away_since = self._away_since or now
        away = now - self._away_since
        if not was_lost(cause) or away + self._pause > self._seconds:
            return False
        if away > SAY_AFTER and not self._said:
            self._said = True
            say(
                f"The server of {self._url} is away; waiting up to {self._seconds:g} s "
                "for it to come back."
            )
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LOOKS[1])
        return True
