"""What a refused login does to its connection. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import attrs

from brokersync.config import Settings
from brokersync.errors import BrokerAuthError, BrokerError
from brokersync.records import Connection, ConnectionState
from brokersync.states import Cause, moved

FIRST_DOUBT: Final = timedelta(minutes=5)

_GROWTH_OF_DOUBT = 4
# the three of an ordinary doubt and the probe of the day after: brokers lock a login after about five wrong passwords
_CREDENTIALS_ARE_SENT = 4
_NEVER_AGAIN = 1000


def grown(first: timedelta, factor: int, times: int, longest: timedelta) -> timedelta:
    """The wait after so many failures in a row."""
    wait: timedelta = first * factor ** min(times, 12)
    return min(longest, wait)


def may_log_in(connection: Connection, *, now: datetime) -> bool:
    """Whether its stored credentials may be sent once more; else only its token is tried."""
    held_back = connection.logs_in_from is not None and now < connection.logs_in_from
    return connection.logins_refused == 0 or not (held_back or _used_up(connection))


def _used_up(known: Connection) -> bool:
    return known.logins_refused >= _CREDENTIALS_ARE_SENT


def meant(known: Connection) -> bool:
    """Whether the broker has refused its credentials in its own words, be it in an earlier run."""
    return known.logins_refused >= _NEVER_AGAIN


def counted(known: Connection, error: BrokerError, *, by: Connection, now: datetime, settings: Settings) -> Connection:
    """After the credentials were refused that it shares with all connections of its login.

    Where they were sent `by` another one, it leaves the next attempt to that one, as long as that waits: all at once
    would use up in a minute what is to outlast an outage of half an hour.
    """
    if isinstance(error, BrokerAuthError) and error.certain:
        return attrs.evolve(known, logins_refused=_NEVER_AGAIN)
    wait = _wait(known.logins_refused, error, settings)
    begins = None if known.connection_id == by.connection_id else now + wait
    return attrs.evolve(known, logins_refused=known.logins_refused + 1, logs_in_from=begins)


def uncounted(known: Connection) -> Connection:
    """They were refused to everybody, so that it does not count: they must not run out in an outage."""
    sent = known.logins_refused
    return known if meant(known) else attrs.evolve(known, logins_refused=max(sent - 1, 0))


def noted(known: Connection, error: BrokerAuthError, *, now: datetime) -> Connection:
    """What is remembered of a refusal, whoever is to blame for it."""
    if error.certain:
        known = attrs.evolve(known, logins_refused=_NEVER_AGAIN)
    if known.state is ConnectionState.PAUSED or known.doubted_since is not None:
        return known
    return attrs.evolve(known, doubted_since=now)


def let_off(known: Connection, *, now: datetime) -> Connection:
    """It was doubted for nothing, as the broker has proved: its credentials may be sent again, from now on.

    What the broker refused in its own words it means.
    """
    sent = known.logins_refused if meant(known) else 0
    return attrs.evolve(known, logins_refused=sent, next_at=now)


def refused(
    known: Connection, error: BrokerAuthError, *, now: datetime, settings: Settings, probe_at: datetime
) -> Connection:
    """After a refusal that is the login's own: a doubt at first, and a question to its user when it is none any more.

    Once its user is asked, its token is tried at `probe_at`, so that the question is withdrawn when it works again.
    """
    certain = error.certain or _used_up(known)
    if known.state is ConnectionState.NEEDS_USER and not error.certain:
        return moved(known, Cause.DOUBTED, next_at=probe_at)
    if not certain:
        known = moved(known, Cause.DOUBTED, next_at=now + _wait(known.refusals, error, settings))
        if known.refusals < settings.refusals:
            return known
    return asked(known, error, probe_at=probe_at)


def _wait(times: int, error: BrokerError, settings: Settings) -> timedelta:
    """Before the next attempt, which may be of a process that does not know for how long the broker is not asked."""
    wait = grown(FIRST_DOUBT, _GROWTH_OF_DOUBT, times, settings.sync_every)
    silence = error.retry_after if isinstance(error, BrokerAuthError) else None
    return max(wait, silence or wait)


def asked(known: Connection, error: BrokerAuthError, *, probe_at: datetime) -> Connection:
    """Its user is asked to log in."""
    return moved(known, Cause.REFUSED, reason=error.message, remedy=error.remedy, next_at=probe_at)
