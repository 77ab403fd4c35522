"""The version of this package, also sent as the user agent."""

__version__ = "0.1.0"
