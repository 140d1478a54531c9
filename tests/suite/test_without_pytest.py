"""What core itself uses of `brokersync.testing` is there without pytest."""

from __future__ import annotations

import subprocess
import sys

_WITHOUT = """
import sys
sys.modules["pytest"] = None
from brokersync.testing import FAULTS, FaultServer, run_sandbox
try:
    from brokersync.testing import ProviderContract
except ImportError as error:
    print(error.name)
"""


def test_sandboxes_and_faults_need_no_pytest() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout == "pytest\n"


def test_the_plugin_of_pytest_imports_nothing_of_http() -> None:
    code = "import sys, brokersync.testing.pytest_plugin; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
