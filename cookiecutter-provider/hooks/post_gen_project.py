"""Keeps of each file the one for the choices that were made, and says what comes next."""

from pathlib import Path

CHOSEN = {"{{ cookiecutter.auth_kind }}", "{{ cookiecutter.history_kind }}", "{{ cookiecutter.licence }}"}


def keep_the_chosen(project):
    """`auth@password.py` is `auth.py` where the choice is `password`; of `name@one,other.py` either choice will do."""
    for path in sorted(project.rglob("*@*")):
        name, _, rest = path.name.partition("@")
        choices, dot, suffix = rest.rpartition(".")
        if CHOSEN & set(choices.split(",")):
            path.rename(path.with_name(name + dot + suffix))
        else:
            path.unlink()


keep_the_chosen(Path.cwd())

print("""
brokersync-{{ cookiecutter.key }} is ready, with an invented broker in it:

    cd brokersync-{{ cookiecutter.key }}
    python -m venv .venv && . .venv/bin/activate
    pip install -e '.[dev]'
    pytest                 # green at once, against the sandbox in src/{{ cookiecutter.__package }}/sandbox.py
    pytest -m release      # lists what is still invented, in the order of work; green when the plugin is yours
""")
