"""The invented people of the simulated broker: who may log in, and which accounts they see."""

from __future__ import annotations

import uuid
from datetime import datetime
from random import Random

import attrs

from brokersync.plugin import SandboxSettings

_FIRM_ID = 400_017


@attrs.define(kw_only=True, eq=False)
class Account:
    """`turn` is its place among the accounts of its login, `index` among all; after a reset its books begin anew."""

    id: int
    index: int
    turn: int
    name: str
    environment: str
    owner_id: int
    created: datetime
    begins: datetime | None = None
    active: bool = True
    closed: bool = False
    archived: bool = False
    listed: bool = True

    def shows(self, moment: datetime) -> bool:
        """Whether its books tell of this moment."""
        return self.begins is None or moment >= self.begins


@attrs.frozen(kw_only=True, eq=False)
class User:
    id: int
    name: str
    password: str = attrs.field(repr=False)
    cid: int
    sec: str = attrs.field(repr=False)
    organisation: str
    environment: str
    accounts: tuple[Account, ...]


def invent_users(settings: SandboxSettings, created: datetime) -> tuple[User, ...]:
    """The first login, and every second one, has live and demo accounts; the others trade a firm's demo accounts."""
    return tuple(_user(settings, number, created) for number in range(settings.logins))


def _user(settings: SandboxSettings, number: int, created: datetime) -> User:
    rng = Random(f"{settings.seed}:login:{number}")
    firm = number % 2 == 1
    user_id = 500_101 + number
    accounts = tuple(
        _account(
            index=number * settings.accounts_per_login + turn,
            turn=turn,
            environment="demo" if firm or turn % 2 else "live",
            owner_id=_FIRM_ID if firm else user_id,
            created=created,
        )
        for turn in range(settings.accounts_per_login)
    )
    return User(
        id=user_id,
        name=f"sandbox-trader-{number + 1}",
        password=f"only-for-the-sandbox-{rng.randrange(10**6):06}",
        cid=8_001 + number,
        sec=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        organisation="Invented Funding" if firm else "",
        environment="demo" if firm else "live",
        accounts=accounts,
    )


def _account(*, index: int, turn: int, environment: str, owner_id: int, created: datetime) -> Account:
    names = {
        ("live", False): f"{1_870_301 + index}",
        ("demo", False): f"DEMO{4_410_021 + index}",
        ("demo", True): f"IFUND-50K-{index:04}",
    }
    return Account(
        id=210_000_000_100 + index,
        index=index,
        turn=turn,
        name=names[environment, owner_id == _FIRM_ID],
        environment=environment,
        owner_id=owner_id,
        created=created,
    )
