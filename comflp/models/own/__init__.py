"""The recipes' own model."""
