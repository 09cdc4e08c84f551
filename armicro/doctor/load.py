"""Loading a library whose loading may fail."""

import importlib
from typing import Any


def load(name: str) -> Any:
    """Import a module by name.

    Raises:
        ImportError: it is not installed or does not fit.
        OSError: a library that it needs cannot be loaded.
    """
    return importlib.import_module(name)


def say_why(error: Exception) -> str:
    """Return why a library did not load, in one line."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    return first_line(str(error))


def first_line(text: str) -> str:
    """Return the first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
