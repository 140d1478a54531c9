"""`brokersync sandbox`: a simulated broker on this machine."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from brokersync.cli.common import Common, finish, note, print_json
from brokersync.cli.exits import Exit

if TYPE_CHECKING:
    from brokersync.sandboxes import SandboxSettings
    from brokersync.testing import RunningSandbox


def sandbox(
    broker: str,
    /,
    *,
    port: Annotated[int, Parameter(help="The port on 127.0.0.1; 0 takes a free one.")] = 0,
    seed: Annotated[int, Parameter(help="The same seed gives the same history.")] = 7,
    days: Annotated[int, Parameter(help="How many days of history there are.")] = 400,
    logins: Annotated[int, Parameter(help="How many logins there are.")] = 2,
    think_ms: Annotated[int, Parameter(help="How long the broker takes for what takes it long.")] = 1000,
    limits: Annotated[bool, Parameter(help="Whether it keeps the broker's limits.")] = True,
    common: Common = Common(),
) -> int:
    """Run a simulated broker that speaks the real broker's protocol, with invented history and faults on request.

    POST /_sandbox/faults with {"fault": NAME, "times": N, "after": M} makes requests fail; Ctrl-C ends it.
    """
    from brokersync.sandboxes import SandboxSettings

    settings = SandboxSettings(
        now=lambda: datetime.now(UTC),
        seed=seed,
        days=days,
        logins=logins,
        think=timedelta(milliseconds=think_ms),
        keeps_limits=limits,
    )
    return finish(_sandbox(broker, port, settings, common), common)


async def _sandbox(broker: str, port: int, settings: SandboxSettings, common: Common) -> int:
    from brokersync.registry import ProviderRegistry
    from brokersync.testing import run_sandbox

    registry = ProviderRegistry.installed(common.settings())
    async with run_sandbox(broker, registry=registry, settings=settings, port=port) as running:
        _tell(running, common)
        await _until_stopped()
    return Exit.DONE


async def _until_stopped() -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(name, stopped.set)
        except NotImplementedError:
            # Windows has no signal handlers in its loop; there Ctrl-C ends the loop itself
            break
    await stopped.wait()


def _facts(running: RunningSandbox) -> dict[str, Any]:
    return {
        "broker": running.key,
        "base_url": running.base_url,
        "hosts": dict(running.hosts),
        "operator_fields": dict(running.operator_fields),
        "faults": list(running.broker.faults),
        "logins": [
            {
                "environment": login.environment,
                "fields": dict(login.fields),
                "page": dict(login.page),
                "trades": dict(login.trades),
            }
            for login in running.logins
        ],
    }


def _tell(running: RunningSandbox, common: Common) -> None:
    facts = _facts(running)
    if common.json:
        print_json(facts)
        sys.stdout.flush()
        return
    out = [f"{running.key} is simulated at {running.base_url}", "", "Configuration that sends brokersync there:"]
    out += [f"  [brokers.{running.key}.hosts]", *(f'  {role} = "{url}"' for role, url in running.hosts.items())]
    if running.operator_fields:
        out += [f"  [brokers.{running.key}.settings]"]
        out += [f'  {name} = "{value}"' for name, value in running.operator_fields.items()]
    for number, login in enumerate(facts["logins"], 1):
        out += ["", f"Login {number} ({login['environment']}), invented:"]
        out += [f"  {name} = {value}" for name, value in login["fields"].items()]
        out += [f"  at the broker's own page: {name} = {value}" for name, value in login["page"].items()]
        out += [f"  account {account} has {count} trades" for account, count in login["trades"].items()]
    out += ["", f"Faults on request: {', '.join(facts['faults'])}"]
    sys.stdout.write("\n".join(out) + "\n")
    sys.stdout.flush()
    note("Ctrl-C ends it.")
