"""`brokersync doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
from cyclopts import Parameter

from brokersync.cli.common import Common, finish, note, print_json, say
from brokersync.cli.exits import Exit
from brokersync.errors import BrokerConfigError, BrokerError, Fault

if TYPE_CHECKING:
    from brokersync.config import Settings
    from brokersync.doctor import Diagnosis
    from brokersync.findings import Finding
    from brokersync.registry import ProviderRegistry

_CODES: Final = {"store": Exit.STORE, "keys": Exit.STORE, "redis": Exit.STORE, "hosts": Exit.LATER}


def doctor(
    *brokers: str,
    reach: Annotated[
        bool, Parameter(help="Also ask each declared host of the brokers in use for its headers.", negative="")
    ] = False,
    bundle: Annotated[
        Path | None, Parameter(help="Write a file that may be sent to somebody who helps; it holds no secret.")
    ] = None,
    common: Common = Common(),
) -> int:
    """Look for what is wrong with this installation, and say what to do about it.

    It changes nothing. Plugins of brokers that are connected, configured or named here add their own checks. Without
    --reach nothing is sent to any broker.

    Parameters
    ----------
    brokers
        Further brokers whose plugins are to look.
    """
    return finish(_doctor(brokers, reach, bundle, common), common)


async def _doctor(brokers: Sequence[str], reach: bool, bundle: Path | None, common: Common) -> int:
    from brokersync.clock import SystemClock
    from brokersync.config import Settings
    from brokersync.doctor import AREAS, Diagnosis, examine, in_order
    from brokersync.findings import Finding
    from brokersync.registry import ProviderRegistry

    wrong: list[Finding] = []
    try:
        settings = common.settings()
        place = common.place(settings)
    except BrokerError as error:
        wrong.append(Finding(area="configuration", message=error.message, remedy=error.remedy))
        settings = Settings()
        place = _place_without(common)
    registry = ProviderRegistry.installed(settings)
    diagnosis = await examine(
        settings=settings, registry=registry, place=place, clock=SystemClock(), brokers=brokers, reach=reach
    )
    diagnosis = Diagnosis(findings=in_order([*wrong, *diagnosis.findings]), stored=diagnosis.stored)
    if bundle is not None:
        _write(bundle, _bundle(diagnosis, settings, registry, common))
    if common.json:
        looked = [area for area in AREAS if area != "hosts" or reach]
        print_json({"looked_at": looked, "findings": [_plain(one) for one in diagnosis.findings]})
    else:
        _show(diagnosis.findings)
        if bundle is not None:
            note(f"Wrote {bundle}. Look into it before you send it: it is plain JSON.")
    return code_of(diagnosis.findings)


def code_of(findings: Sequence[Finding]) -> Exit:
    """0 unless there is a fault; of several the highest code."""
    faults = [one for one in findings if one.severity == "fault"]
    return max((_CODES.get(one.area, Exit.CONFIG) for one in faults), default=Exit.DONE)


def _place_without(common: Common) -> str | Path:
    """Where the store is when the configuration can not tell."""
    from brokersync.folders import data_folder

    return common.store or os.environ.get("BROKERSYNC_STORE") or data_folder() / "brokersync.db"


def _bundle(diagnosis: Diagnosis, settings: Settings, registry: ProviderRegistry, common: Common) -> dict[str, Any]:
    from brokersync.doctor.bundle import bundle
    from brokersync.sealing import KEY_VARIABLE

    keys = os.environ.get(KEY_VARIABLE, "").replace(",", " ").split()
    places = [text for text in (common.store, os.environ.get("BROKERSYNC_STORE")) if text]
    return bundle(diagnosis, settings, registry, [*keys, *places])


def _write(path: Path, facts: dict[str, Any]) -> None:
    """Readable by its owner alone; a file that is there is not overwritten."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(facts, ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        raise BrokerConfigError(
            f"{path} can not be written: {error.strerror}.", remedy="Name another file with --bundle.", fault=Fault.USER
        ) from None


def _show(findings: Sequence[Finding]) -> None:
    for one in findings:
        say(f"{one.severity.value}: {one.message}")
        say(f"  {one.remedy}")
    told = Counter(one.severity.value for one in findings)
    numbers = [f"{number} {what}{'' if number == 1 else 's'}" for what, number in told.items()]
    sys.stdout.write(f"{', '.join(numbers)}.\n" if numbers else "Nothing is wrong.\n")


def _plain(one: Finding) -> dict[str, str]:
    return {name: str(value) for name, value in attrs.asdict(one).items()}
