"""The template rendered, and the plugin that came of it: in an environment of its own, or beside what is here."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import attrs
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "cookiecutter-provider"
AUTH_KINDS = ("api_key", "signed", "password", "oauth2")
HISTORY_KINDS = ("windows", "cursor", "session", "files")
LICENCES = ("Apache-2.0", "MIT")
# of a broker with a live side only, and of one with a demo side, too
DEMO_URLS = ("", "https://demo-api.acme.example/v1")


@attrs.frozen
class Combination:
    """One choice of each kind."""

    auth_kind: str
    history_kind: str
    licence: str
    demo_url: str

    def __str__(self) -> str:
        return f"{self.auth_kind}-{self.history_kind}-{self.licence}-{'two' if self.demo_url else 'one'}"


def _combination(auth: int, history: int) -> Combination:
    """Licences take turns, and so do brokers of one and of two sides: each stands beside each choice of the others."""
    licence, demo_url = LICENCES[(auth + history) % 2], DEMO_URLS[(auth // 2 + history // 2) % 2]
    return Combination(AUTH_KINDS[auth], HISTORY_KINDS[history], licence, demo_url)


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


def common_ground(into: Path) -> Path:
    """The python of a new environment with the wheel of core and what a project asks for, but with no project.

    It knows nothing of this repository.
    """
    core = wheel_of(ROOT / "core", into / "wheel")
    printed(run(sys.executable, "-m", "venv", into / "venv", folder=into))
    python = into / "venv" / "bin" / "python"
    made = tomllib.loads((render(into, key="any") / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [one for one in made["optional-dependencies"]["dev"] if not one.startswith("brokersync")]
    pip = (python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt")
    # the wheel of core stands for the one that an index would give, with the extras that a project asks for
    printed(run(*pip, f"{core}[cli,testing]", *asked, folder=into))
    return python


def installed(folder: Path, into: Path, ground: Path) -> Project:
    """The project's wheel in a new environment, which finds all that it asks for on the common ground."""
    wheel = wheel_of(folder, into / "wheel")
    printed(run(ground, "-m", "venv", "--without-pip", into / "venv", folder=into))
    python = into / "venv" / "bin" / "python"
    (site,) = (into / "venv").glob("lib/python*/site-packages")
    (shared,) = ground.parents[1].glob("lib/python*/site-packages")
    (site / "ground.pth").write_text(f"{shared}\n")
    # from no index: it fails where the project asks for something that is not there
    printed(run(python, "-m", "pip", "install", "-q", "--no-index", f"{wheel}[dev]", folder=into))
    return Project(folder, wheel, python)
