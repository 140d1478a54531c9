"""The console script: answers `--version` at once, and says how to get the command line when it is not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from brokersync.version import VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        sys.stdout.write(f"brokersync {VERSION}\n")
        return 0
    try:
        import cyclopts  # noqa: F401  only whether it is there
        import rich  # noqa: F401  only whether it is there
    except ImportError:
        sys.stderr.write("The command line is not installed. Get it with: pip install 'brokersync[cli]'\n")
        return 2
    from brokersync.cli import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
