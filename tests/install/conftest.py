"""The three distributions as users get them: wheels, and a clean environment that holds core alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

REPOSITORY = Path(__file__).parents[2]
DISTRIBUTIONS = {
    "brokersync": REPOSITORY / "core",
    "brokersync-ibkr": REPOSITORY / "plugins/ibkr",
    "brokersync-tradovate": REPOSITORY / "plugins/tradovate",
}


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """What the command prints; a failure shows all of it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@attrs.frozen
class Installer:
    """uv where it is at hand, since it is several times faster, else pip."""

    uv: Path | None

    def make(self, folder: Path) -> Path:
        """A new virtual environment; its python."""
        if self.uv:
            run(self.uv, "venv", "-q", "--python", sys.executable, folder, cwd=folder.parent)
        else:
            run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
        return folder / "bin" / "python"

    def install(self, python: Path, *arguments: str | Path) -> None:
        if self.uv:
            run(self.uv, "pip", "install", "-q", "--python", python, *arguments, cwd=python.parent)
        else:
            run(python, "-m", "pip", "install", "-q", *arguments, cwd=python.parent)


@attrs.frozen
class Environment:
    """A clean environment with core alone; more distributions come on the path of one call at a time."""

    python: Path
    home: Path

    def answer(self, code: str, *path: Path) -> Any:
        """What `code` leaves in `answer`, run with these folders on the import path."""
        script = f"import json\n{code}\nprint(json.dumps(answer))"
        shown = run(self.python, "-W", "error", "-c", script, cwd=self.home, **self.env(path))
        return json.loads(shown.splitlines()[-1])

    def env(self, path: tuple[Path, ...]) -> Mapping[str, str]:
        return {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="session")
def installer() -> Installer:
    found = shutil.which("uv") or REPOSITORY / ".tools/bin/uv"
    return Installer(Path(found) if Path(found).exists() else None)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A wheel of each distribution, built from its source."""
    folder = tmp_path_factory.mktemp("wheels")
    made = {}
    for name, source in DISTRIBUTIONS.items():
        into = folder / name
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", into, source, cwd=folder)
        (made[name],) = into.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def core_alone(
    tmp_path_factory: pytest.TempPathFactory, wheels: Mapping[str, Path], installer: Installer
) -> Environment:
    home = tmp_path_factory.mktemp("environment")
    python = installer.make(home / "venv")
    installer.install(python, wheels["brokersync"])
    return Environment(python, home)


@pytest.fixture(scope="session")
def plugin_folders(
    tmp_path_factory: pytest.TempPathFactory,
    wheels: Mapping[str, Path],
    core_alone: Environment,
    installer: Installer,
) -> Mapping[str, Path]:
    """Per plugin a folder that holds what its wheel installs, and nothing else."""
    folders = {}
    for name in DISTRIBUTIONS:
        if name != "brokersync":
            folders[name] = tmp_path_factory.mktemp("plugin")
            installer.install(core_alone.python, "--no-deps", "--target", folders[name], wheels[name])
    return folders


@pytest.fixture
def fake(tmp_path: Path) -> Any:
    """Writes an installed plugin distribution of a few lines; gives the folder for the import path."""

    def write(distribution: str, key: str, code: str) -> Path:
        folder = tmp_path / distribution
        package = distribution.replace("-", "_")
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[brokersync.providers]\n{key} = {package}\n")
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(code)
        (folder / package / "provider.toml").write_text(
            f'key = "{key}"\ndisplay_name = "Fake"\ncontract = 1\nenvironments = ["live"]\nauth = ["none"]\n'
            'licence = "MIT"\ndocs = "https://fake.example"\nsupport = "https://fake.example"\n'
            '[[sources]]\nname = "files"\nprecedence = 1\nfiles = true\n'
        )
        return folder

    return write
