"""The template rendered, and the plugin that came of it: in an environment of its own, or beside what is here."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import attrs
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "cookiecutter-provider"
AUTH_KINDS = ("api_key", "signed", "password", "oauth2")
HISTORY_KINDS = ("windows", "cursor", "session", "files")
LICENCES = ("Apache-2.0", "MIT")


@attrs.frozen
class Combination:
    """One choice of each kind."""

    auth_kind: str
    history_kind: str
    licence: str

    def __str__(self) -> str:
        return f"{self.auth_kind}-{self.history_kind}-{self.licence}"


def _combination(auth: int, history: int) -> Combination:
    """Licences take turns, so that each stands beside each choice of the others."""
    return Combination(AUTH_KINDS[auth], HISTORY_KINDS[history], LICENCES[(auth + history) % 2])


# the first four meet each choice once, the first six each licence beside each kind of history as well
_FIRST = [_combination(*pair) for pair in ((0, 0), (1, 2), (2, 1), (3, 3))]
_ALL = [_combination(auth, history) for auth in range(4) for history in range(4)]
COMBINATIONS = [*_FIRST, *(one for one in _ALL if one not in _FIRST)]
CI_SIZE = len(_FIRST)


@attrs.frozen
class Project:
    """A rendered project, its wheel, and the python that finds the plugin by its entry point."""

    folder: Path
    wheel: Path
    python: Path
    path: Path | None = None

    def run(self, module: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A tool of the environment in the project."""
        return run(self.python, "-m", module, *words, folder=self.folder, path=self.path)

    def checked(self, module: str, *words: str) -> str:
        """What the tool prints; a failure shows all of it."""
        return printed(self.run(module, *words))


def printed(done: subprocess.CompletedProcess[str]) -> str:
    """What a process has printed; a failure shows all of it."""
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run(*command: str | Path, folder: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A process that knows nothing of the tests that run it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    own |= {"PYTHONDONTWRITEBYTECODE": "1", "BROKERSYNC_CONFIG": "", "BROKERSYNC_STORE": ""}
    if path is not None:
        own["PYTHONPATH"] = str(path)
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, env=own, capture_output=True, text=True, timeout=600, check=False)


def render(into: Path, **answers: str) -> Path:
    """The folder of the rendered project."""
    made: str = cookiecutter(str(TEMPLATE), no_input=True, output_dir=str(into), extra_context=answers)
    return Path(made)


def wheel_of(source: Path, into: Path) -> Path:
    """The wheel of a project, or of core."""
    done = run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", into, source, folder=source.parent
    )
    printed(done)
    (wheel,) = into.glob("*.whl")
    return wheel


def beside(folder: Path, into: Path) -> Project:
    """The project with its wheel unpacked as an installer does it, beside what is installed here."""
    wheel = wheel_of(folder, into / "wheel")
    with zipfile.ZipFile(wheel) as pack:
        pack.extractall(into / "installed")
    return Project(folder, wheel, Path(sys.executable), into / "installed")


def installed(folder: Path, into: Path, core: Path) -> Project:
    """The project's wheel with all that it asks for in a new environment, which knows nothing of this repository."""
    wheel = wheel_of(folder, into / "wheel")
    printed(run(sys.executable, "-m", "venv", into / "venv", folder=into))
    python = into / "venv" / "bin" / "python"
    pip = (python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt")
    # the wheel of core stands for the one that an index would give, with the extras that the project asks for
    printed(run(*pip, f"{core}[cli]", f"{wheel}[dev]", folder=into))
    return Project(folder, wheel, python)
