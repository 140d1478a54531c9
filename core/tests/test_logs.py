"""Events as records, and what the command line shows of them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from loguru import logger

from brokersync.events import RequestSent, ScopeFrozen, ScopeThawed, SyncFailed, WindowStarted
from brokersync.logs import enable_logs, log_events
from brokersync.types import TimeWindow

SENT = RequestSent(
    provider="toy",
    connection_id="c1",
    operation="list",
    url="https://h.example/?t=***",
    attempt=1,
    status=200,
    duration=timedelta(milliseconds=250),
)


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    out = io.StringIO()
    disable = enable_logs(out, "DEBUG", lambda: ["s3cret", "other"])
    yield out
    disable()


def test_an_event_is_one_line_of_its_name_and_fields(out):
    log_events(logger)(SENT)
    line = out.getvalue()
    assert "DEBUG" in line
    assert line.endswith(
        " RequestSent provider=toy connection_id=c1 operation=list url=https://h.example/?t=*** attempt=1"
        " status=200 duration=0.25\n"
    )


def test_an_event_s_fields_are_beside_the_text():
    records = []
    handler = logger.add(lambda message: records.append(message.record), level="DEBUG")
    logger.enable("brokersync")
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    write = log_events(logger)
    write(ScopeFrozen(provider="toy", scope="app", until=moment, reason="429"))
    window = TimeWindow(moment, moment + timedelta(days=1))
    write(WindowStarted(source="history", account_id=None, window=window, done=0, total=3))
    logger.disable("brokersync")
    logger.remove(handler)
    frozen, started = (record["extra"] for record in records)
    assert frozen == {
        "event": "ScopeFrozen",
        "provider": "toy",
        "connection_id": "",
        "scope": "app",
        "until": "2030-01-01T00:00:00Z",
        "pace": 100,
        "reason": "429",
        "again": False,
    }
    assert started["window"] == "2030-01-01T00:00:00Z/2030-01-02T00:00:00Z"
    assert [record["level"].name for record in records] == ["WARNING", "DEBUG"]


def test_a_scope_that_is_refused_again_is_no_second_warning(out):
    write, moment = log_events(logger), datetime(2030, 1, 1, tzinfo=UTC)
    for again in (False, True):
        write(ScopeFrozen(provider="toy", scope="app", until=moment, reason="429", again=again))
    write(ScopeThawed(provider="toy", scope="app", lasted=timedelta(seconds=90)))
    levels = [line.split()[1] for line in out.getvalue().splitlines()]
    assert levels == ["WARNING", "DEBUG", "INFO"]
    assert out.getvalue().endswith(" ScopeThawed provider=toy scope=app lasted=90.0\n")


def test_a_broker_s_text_is_never_read_as_a_format_and_never_makes_a_line_of_its_own(out):
    log_events(logger)(SyncFailed(error="BrokerAPIError", message="{0.__class__} {secret}\n2030 INFO all is well"))
    assert "{0.__class__} {secret}\\n2030 INFO all is well" in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_the_finished_line_is_redacted_with_its_exception(out):
    def fail(token):
        raise ValueError(f"refused {token}")

    try:
        fail("s3cret")
    except ValueError:
        logger.opt(exception=True).error("It failed with {}", "other")
    text = out.getvalue()
    assert "ValueError: refused ***" in text
    assert "It failed with ***" in text
    assert "s3cret" not in text.replace('fail("s3cret")', "")


def test_a_secret_that_is_learned_later_is_redacted_from_then_on():
    known = []
    out = io.StringIO()
    disable = enable_logs(out.write, "INFO", lambda: known)
    logger.info("one {}", "s3cret")
    known.append("s3cret")
    logger.info("two {}", "s3cret")
    disable()
    assert "one s3cret" in out.getvalue()
    assert "two ***" in out.getvalue()


def test_lines_can_be_json_and_are_redacted_there_too():
    out = io.StringIO()
    disable = enable_logs(out, "DEBUG", lambda: ['quo"te'], json_lines=True)
    log_events(logger)(SyncFailed(error="E", message='it said quo"te'))
    disable()
    assert "quo" not in out.getvalue()
    assert json.loads(out.getvalue())["record"]["extra"]["event"] == "SyncFailed"


def test_a_sink_that_fails_does_not_end_the_program():
    out = io.StringIO()
    disable = enable_logs(out)
    out.close()
    logger.info("into nothing")
    disable()


def test_after_disabling_nothing_is_shown(out):
    other = io.StringIO()
    enable_logs(other)()
    log_events(logger)(SENT)
    assert other.getvalue() == ""


def run(code: str) -> str:
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return answer.stdout + answer.stderr


def test_the_library_is_silent_until_it_is_enabled():
    code = """
from loguru import logger
from brokersync.events import SyncStarted
from brokersync.logs import log_events
log_events(logger)(SyncStarted(owner="somebody"))
"""
    assert run(code) == ""
    assert "SyncStarted" in run(code.replace("log_events(logger)(", "logger.enable('brokersync')\nlog_events(logger)("))


def test_only_the_logs_module_imports_loguru():
    assert run("import sys, brokersync.http, brokersync.redaction\nprint('loguru' in sys.modules)") == "False\n"
