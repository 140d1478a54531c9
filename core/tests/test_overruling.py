"""What the operator says of brokers is looked at beside what is installed, before anything is started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from brokersync import overruling
from brokersync.config import BrokerSettings, Settings
from brokersync.errors import BrokerConfigError
from brokersync.manifest import AuthKind, Field, Manifest, SourceSpec

PAPER = Manifest(
    key="paper",
    display_name="Paper",
    contract=1,
    environments=("live",),
    auth=(AuthKind.OAUTH2,),
    sources=(SourceSpec(name="history", precedence=1),),
    licence="MIT",
    docs="",
    support="",
    hosts={"api": "https://api.paper.example"},
    operator_fields=(
        Field(name="client_id", label="Client id", help="From Paper."),
        Field(name="region", label="Region", help="Where.", format="choice", choices=("eu", "us"), default="eu"),
    ),
)


def manifest(key: str) -> Manifest:
    if key in ("paper", "paper-plane"):
        return PAPER
    raise BrokerConfigError("nobody offers it")


def found(brokers: Any) -> list[str]:
    registry: Any = SimpleNamespace(keys=lambda: ("paper",), manifest=manifest)
    return [*overruling.mistakes_of_brokers({"brokers": brokers}, registry)]


def test_a_broker_that_nobody_knows_is_told_with_the_one_that_was_meant() -> None:
    assert found({"Papper": {}}) == ["brokers: unknown 'Papper'; did you mean 'paper'?"]
    assert found({"zzzz": {}}) == ["brokers: unknown 'zzzz'; installed are paper"]


def test_a_label_is_told_with_the_broker_whose_name_it_is() -> None:
    assert found({"paper-plane": {}}) == ["brokers: 'paper-plane' is another name of 'paper'; say it of that"]


def test_a_broker_that_is_known_and_not_installed_is_no_mistake() -> None:
    known = next(iter(overruling.catalogue()))
    assert found({known: {"settings": {"anything": "x"}}}) == []


def test_the_operators_fields_and_hosts_are_told_with_their_paths_and_without_their_values() -> None:
    told = {"hosts": {"api": "http://hidden", "app": "https://x"}, "settings": {"region": "hidden", "colour": "hidden"}}
    api, *rest = found({"paper": told})
    assert api.startswith("brokers[paper].hosts[api]: The host set for 'api' of Paper must be https")
    assert rest == [
        "brokers[paper].hosts[app]: Paper has no host for 'app'. Its roles are: api",
        "brokers[paper].settings.colour: is unknown",
        "brokers[paper].settings.client_id: is missing",
        "brokers[paper].settings.region: must be one of eu, us",
    ]


@pytest.mark.parametrize("brokers", [None, 1, [], {"paper": 1}, {"paper": {"hosts": [], "settings": "x"}}])
def test_what_has_the_wrong_form_is_left_to_those_who_tell_of_that(brokers: Any) -> None:
    assert [one for one in found(brokers) if "client_id" not in one] == []


def test_settings_that_were_made_by_a_program_are_looked_at_too() -> None:
    registry: Any = SimpleNamespace(keys=lambda: ("paper",), manifest=manifest)
    with pytest.raises(BrokerConfigError, match="brokers: unknown 'papr'"):
        overruling.check_brokers(Settings(brokers={"papr": BrokerSettings()}), registry)
    overruling.check_brokers(Settings(brokers={"paper": BrokerSettings(settings={"client_id": "7"})}), registry)
