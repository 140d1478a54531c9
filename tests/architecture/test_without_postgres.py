from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_WITHOUT = """
import sys
import pytest
from brokersync.testing import postgres_server
postgres_server._PACKAGE = "no_such_package"
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_what_needs_a_postgres_is_skipped_where_there_is_none_and_the_last_lines_say_so(repository: Path) -> None:
    files = ("core/tests/store/test_failing.py", "core/tests/store/test_postgres.py")
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, "-p", "no:cacheprovider", *files],
        cwd=repository,
        env=environment | {"PATH": "", "CI": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    last = "\n".join(done.stdout.splitlines()[-3:])
    assert "Postgres was not tested" in last
    assert "skipped, since there is no Postgres on this machine" in last
    assert " passed" in last
