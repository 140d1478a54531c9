"""A check is left out with a reason and for a while, and in no other way."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from brokersync.testing import Bypass, ProviderContract

from .variants import Defect, install, run_pytest

TODAY = datetime.now(UTC).date()
SOON = TODAY + timedelta(days=30)
PASSING = "test_a_missing_field_is_named_before_any_request"
FAILING = "test_each_field_has_its_form"
REQUESTS = "test_requests_are_as_they_were"
UNHELPFUL = Defect("", FAILING, "provider.toml", 'help = "The name you sign in with."', 'help = "Name."')
ONE_SIDED = Defect("", "", "normalise.py", 'side=_SIDES[row["side"]],', "side=Side.BUY,")
HEAD = (
    "from datetime import date\nfrom pathlib import Path\nimport pytest\n"
    "from brokersync.testing import Bypass, ProviderContract\n\n"
)


def bypass(until: date, check: str = FAILING) -> str:
    day = f"date({until.year}, {until.month}, {until.day})"
    return f"bypasses = (Bypass({check!r}, reason='the help is being written', until={day}),)"


# by name: the lines of the class, what follows it, the check that is run
CASES = {
    "Plain": ("", "", FAILING),
    "Bypassed": (bypass(SOON), "", FAILING),
    "Needless": (bypass(SOON, PASSING), "", PASSING),
    "Expired": (bypass(TODAY - timedelta(days=1)), "", FAILING),
    "TooLong": (bypass(TODAY + timedelta(days=400)), "", FAILING),
    "Unknown": (bypass(SOON, "test_there_is_no_such_check"), "", FAILING),
    "Later": ("", f"TestLater.{FAILING} = lambda self: None", FAILING),
    "Skip": ("", "pytestmark = pytest.mark.skip(reason='later')", FAILING),
    "SkipIf": ("", "pytestmark = pytest.mark.skipif(True, reason='later')", FAILING),
    "XFail": ("", "pytestmark = pytest.mark.xfail(reason='later')", FAILING),
    "OnTheClass": ("", "TestOnTheClass = pytest.mark.skip(reason='later')(TestOnTheClass)", FAILING),
    "Own": ("def test_mine(self): pass", "", "test_mine"),
    "Absent": ("key = 'toy-9'", "", "test_it_imports_only_the_names_for_plugins"),
    "Keyless": ("key = ''", "", FAILING),
    "NoRequests": ("requests_file = Path('nowhere.jsonl')", "", REQUESTS),
    "OtherRequests": ("requests_file = Path('other.jsonl')", "", REQUESTS),
    "OneSided": ("key = 'toy-1'", "", "test_every_trade_is_as_the_books_have_it"),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`said(name)`: the outcome of a case, and what pytest told of it; all are run at once."""
    folder: Path = tmp_path_factory.mktemp("bypasses")
    install(folder, 0, UNHELPFUL)
    install(folder, 1, ONE_SIDED)
    (folder / "other.jsonl").write_text('{"method": "GET", "path": "/login"}\n')
    nodes = []
    for name, (lines, after, check) in CASES.items():
        text = f"{HEAD}class Test{name}(ProviderContract):\n    key = 'toy-0'\n    {lines}\n\n{after}\n"
        (folder / f"test_{name.lower()}.py").write_text(text)
        nodes.append(f"test_{name.lower()}.py::Test{name}::{check}")
    done = run_pytest(folder, "-rA", "--contract-seed=23", *nodes)
    assert done.returncode == 1, done.stdout + done.stderr
    sections = done.stdout.split("\n____")
    summary = done.stdout.rpartition("short test summary info")[2]

    def tell(name: str) -> tuple[str, str]:
        (line,) = (line for line in summary.splitlines() if f"::Test{name}::" in line)
        more = "".join(part for part in sections if f"Test{name}." in part.partition("\n")[0])
        return line.split()[0], line + more

    return tell


@pytest.mark.parametrize(
    ("name", "outcome", "told"),
    [
        ("Plain", "FAILED", "the help of the field username does not help"),
        ("Bypassed", "XFAIL", f"until {SOON}: the help is being written"),
        ("Needless", "FAILED", "XPASS(strict)"),
        ("Expired", "ERROR", "Mend the plugin and take it out"),
        ("TooLong", "ERROR", "and a year is the longest"),
        ("Unknown", "ERROR", "'test_there_is_no_such_check', which is none of the checks"),
    ],
)
def test_a_bypass_holds_for_a_check_that_fails_and_until_its_day(said: Any, name: str, outcome: str, told: str) -> None:
    found, text = said(name)
    assert found == outcome
    assert told in text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Later", f"TestLater overrides {FAILING}"),
        ("Skip", "The check is marked skip; a check is left out by a Bypass"),
        ("SkipIf", "The check is marked skipif; a check is left out by a Bypass"),
        ("XFail", "The check is marked xfail; a check is left out by a Bypass"),
        ("OnTheClass", "TestOnTheClass overrides pytestmark"),
    ],
)
def test_every_way_around_a_check_fails_it(said: Any, name: str, told: str) -> None:
    found, text = said(name)
    assert found == "ERROR"
    assert told in text


@pytest.mark.parametrize("name", [FAILING, "readings", "stage", "checks", "__init_subclass__", "pytestmark"])
def test_a_check_and_what_it_stands_on_can_not_be_overridden(name: str) -> None:
    with pytest.raises(TypeError, match=f"TestToy overrides {name}"):
        type(
            "TestToy", (ProviderContract,), {name: None if name != "__init_subclass__" else classmethod(lambda cls: 0)}
        )


def test_nor_by_another_class_in_front_of_it() -> None:
    mine = type("Mine", (), {FAILING: None})
    with pytest.raises(TypeError, match=f"TestToy overrides {FAILING}"):
        type("TestToy", (mine, ProviderContract), {"key": "toy"})


def test_a_bypass_needs_a_reason_in_words() -> None:
    with pytest.raises(ValueError, match="needs a reason in words"):
        Bypass("test_x", reason="later", until=SOON)


def test_tests_of_the_authors_own_stand_beside_the_checks(said: Any) -> None:
    assert said("Own")[0] == "PASSED"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Absent", "No installed plugin offers the broker 'toy-9'"),
        ("Keyless", "TestKeyless names no broker: set key = '...'"),
        ("NoRequests", "there is no nowhere.jsonl; --contract-write writes it"),
        ("OtherRequests", "other.jsonl has {'method': 'GET', 'path': '/login'}"),
    ],
)
def test_what_can_not_be_had_or_is_other_is_told_and_not_passed_over(said: Any, name: str, told: str) -> None:
    found, text = said(name)
    assert found == "FAILED"
    assert told in text


def test_a_failure_names_the_requests_and_the_seed(said: Any) -> None:
    _, text = said("OneSided")
    assert "and the books say sell" in text
    assert "seed 23; the latest requests:" in text
    assert "GET /accounts/1002/fills, answered 200" in text


def test_every_check_has_its_sentence() -> None:
    assert len(ProviderContract.checks()) > 45
    for name in ProviderContract.checks():
        assert getattr(ProviderContract, name).__doc__, name
