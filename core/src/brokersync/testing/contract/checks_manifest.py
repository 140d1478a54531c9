"""Checks of what `provider.toml` says: forms, capabilities and limits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from brokersync.enums import AssetClass, BookingEffect, TradeEvent
from brokersync.errors import BrokerConfigError
from brokersync.factory import make_credentials
from brokersync.limits import LimitKind, RateLimit
from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.expecting import BrokenContract, expect
from brokersync.testing.contract.stage import Stage
from brokersync.types import TradeBooking

CAPABILITIES: Final = ("corrections", "futures", "multi_leg", "options")
_OPTION_EVENTS: Final = (TradeEvent.EXPIRATION, TradeEvent.ASSIGNMENT, TradeEvent.EXERCISE)
_TOO_MANY: Final = 429


class ManifestChecks(ContractBase):
    """Of `provider.toml`."""

    async def test_each_field_has_its_form(self) -> None:
        """Title, description and, where it has one, a default that its own form accepts."""
        for field in (*self.manifest.user_fields, *self.manifest.operator_fields):
            schema = field.json_schema()
            expect(schema["title"].strip(), f"the field {field.name} has no label")
            expect(len(schema["description"].split()) > 2, f"the help of the field {field.name} does not help")
            expect(not (field.secret and field.default), f"the secret field {field.name} has a default")

    async def test_a_missing_field_is_named_before_any_request(self) -> None:
        """A `BrokerConfigError` that names the field and shows no value."""
        async with self.stage() as stage:
            fields = stage.fields()
            for field in self.manifest.user_fields:
                if field.required and field.default is None:
                    left = {name: value for name, value in fields.items() if name != field.name}
                    self._refused(stage, left, field.name)
            self._refused(stage, {**fields, "unheard_of": "x"}, "unheard_of")
            expect(not stage.server.exchanges, "a mistaken form leads to a request")

    async def test_capabilities_are_declared_where_they_are_shown(self) -> None:
        """Each that is declared is in the sandbox's history, and each that is in it is declared."""
        declared = set(self.manifest.capabilities)
        unknown = sorted(declared - {*CAPABILITIES})
        expect(not unknown, f"the capabilities {unknown} are unknown; they are {', '.join(CAPABILITIES)}")
        async with self.stage() as stage:
            _, readings = await self.readings(stage)
            shown = {name for reading in readings for booking in reading.bookings for name in shown_by(booking)}
        expect(
            shown <= declared,
            f"the sandbox shows {sorted(shown - declared)}, which provider.toml does not declare: add"
            f" capabilities = {sorted(shown | declared)}",
        )
        expect(
            declared <= shown,
            f"provider.toml declares {sorted(declared - shown)}, of which the sandbox shows nothing: let it show some",
        )

    async def test_declared_limits_are_never_exceeded(self) -> None:
        """At full speed and after a rest, by the times at which requests come in."""
        self.needs(self.manifest.limits, "limits")
        async with self.stage(metered=True) as stage, stage.service() as service:
            connection = await self.connect(service)
            await service.sync(connection)
            stage.clock.advance(timedelta(hours=2))
            await service.sync(connection)
            for limit in self.manifest.limits:
                _check_limit(stage, limit)
            refused = [one for one in stage.server.exchanges if one.status == _TOO_MANY]
            expect(
                not refused,
                f"the sandbox refused {len(refused)} requests for their rate, first {[*map(str, refused[:1])]}: it"
                " keeps other limits than provider.toml declares",
            )

    def _refused(self, stage: Stage, fields: Mapping[str, str], name: str) -> None:
        try:
            make_credentials(stage.loaded, fields)
        except BrokerConfigError as error:
            expect(name in str(error), f"the error of the field {name} does not name it: {error}")
            expect(not any(one in str(error) for one in stage.secrets), f"the error of the field {name} shows a secret")
            return
        raise BrokenContract(f"the field {name} is missing or unknown, and nothing is said")


def _check_limit(stage: Stage, limit: RateLimit) -> None:
    if limit.kind is LimitKind.CONCURRENCY:
        return
    sent = stage.sent_since(0)
    expect(
        len(sent) == len(stage.server.exchanges),
        f"{len(stage.server.exchanges)} requests came in, and core sent {len(sent)}: the others went around it",
    )
    times = [
        exchange.sent.at
        for event, exchange in zip(sent, stage.server.exchanges, strict=True)
        if limit.applies_to(event.operation)
    ]
    for first, last in zip(times, times[limit.amount :], strict=False):
        expect(
            last - first >= limit.period,
            f"{limit.amount + 1} requests within {last - first}, where {limit.amount} in {limit.period} are declared",
        )


def shown_by(booking: TradeBooking) -> set[str]:
    """The capabilities that a booking is of."""
    shown = set()
    if booking.effect in (BookingEffect.CANCEL, BookingEffect.REPLACE):
        shown.add("corrections")
    trade = booking.trade
    if trade is not None:
        if trade.instrument.asset_class is AssetClass.FUTURE:
            shown.add("futures")
        if trade.instrument.asset_class is AssetClass.OPTION or trade.event in _OPTION_EVENTS:
            shown.add("options")
        if trade.group_id is not None:
            shown.add("multi_leg")
    return shown
