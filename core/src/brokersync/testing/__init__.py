"""For tests and first steps: the brokers' sandboxes on loopback."""

from brokersync.testing.sandbox_server import RunningSandbox, run_sandbox

__all__ = ["RunningSandbox", "run_sandbox"]
