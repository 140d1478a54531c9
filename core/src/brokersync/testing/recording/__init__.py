"""Sessions with a broker as fixtures: taken down, made anonymous, kept in a folder, and replayed."""
