"""Low-dose electron microscopy of battery interphases, with numbers one can trust."""

__version__ = "0.1.0"
