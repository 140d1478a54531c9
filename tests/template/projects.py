"""The template rendered, and the plugin that came of it put beside what is installed here."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from itertools import product
from pathlib import Path

import attrs
from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).parents[2] / "cookiecutter-provider"
AUTH_KINDS, HISTORY_KINDS, LICENCES = ("api_key", "password"), ("windows", "cursor"), ("Apache-2.0", "MIT")


@attrs.frozen
class Combination:
    """One choice of each kind."""

    auth_kind: str
    history_kind: str
    licence: str

    def __str__(self) -> str:
        return f"{self.auth_kind}-{self.history_kind}-{self.licence}"

    @property
    def opposite(self) -> Combination:
        """The choice of the other of each kind."""
        return Combination(
            *(
                next(other for other in kinds if other != mine)
                for kinds, mine in zip((AUTH_KINDS, HISTORY_KINDS, LICENCES), attrs.astuple(self), strict=True)
            )
        )


_FIRST = Combination("api_key", "windows", "Apache-2.0")
_ALL = [Combination(*choices) for choices in product(AUTH_KINDS, HISTORY_KINDS, LICENCES)]
# the first two meet each choice once
COMBINATIONS = [_FIRST, _FIRST.opposite, *(one for one in _ALL if one not in (_FIRST, _FIRST.opposite))]
CI_SIZE = 2


@attrs.frozen
class Project:
    """A rendered project, and the folder that holds what its wheel installs."""

    folder: Path
    installed: Path
    caches: Path

    def run(self, module: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A tool of this environment in the project, which finds the plugin by its entry point."""
        return run(sys.executable, "-m", module, *words, folder=self.folder, path=self.installed)

    def checked(self, module: str, *words: str) -> str:
        """What the tool prints; a failure shows all of it."""
        done = self.run(module, *words)
        assert done.returncode == 0, f"{module} {words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def files(self) -> list[Path]:
        """All that was rendered."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


def run(*command: str, folder: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A process that knows nothing of the tests that run it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    own |= {"PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder), "BROKERSYNC_CONFIG": "", "BROKERSYNC_STORE": ""}
    if path is not None:
        own["PYTHONPATH"] = str(path)
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, timeout=300, check=False)


def render(into: Path, **answers: str) -> Path:
    """The folder of the rendered project."""
    made: str = cookiecutter(str(TEMPLATE), no_input=True, output_dir=str(into), extra_context=answers)
    return Path(made)


def built(folder: Path, caches: Path) -> Project:
    """The project with its wheel unpacked as an installer does it."""
    wheels, installed = caches / "wheels", caches / "installed"
    done = run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(folder), folder=caches
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as pack:
        pack.extractall(installed)
    return Project(folder, installed, caches)
