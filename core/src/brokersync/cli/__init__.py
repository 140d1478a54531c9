"""The command line: one module per command group."""

from brokersync.cli.app import run

__all__ = ["run"]
