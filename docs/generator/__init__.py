"""Writes the pages of the reference that the code knows better: `python -m docs.generator`, from the root."""
