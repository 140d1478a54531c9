"""Says what comes next."""

print("""
brokersync-{{ cookiecutter.key }} is ready, with an invented broker in it:

    cd brokersync-{{ cookiecutter.key }}
    python -m venv .venv && . .venv/bin/activate
    pip install -e '.[dev]'
    pytest                 # green at once, against the sandbox in src/{{ cookiecutter.__package }}/sandbox.py
    pytest -m release      # lists every place that is still invented; green when the plugin is yours
""")
