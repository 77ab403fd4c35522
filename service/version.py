"""The version of Nacre, from the installed package."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("nacre")
