"""Low-dose electron microscopy of battery interphases, with numbers one can trust."""

import lazy_loader as _lazy

__version__ = "0.1.0"

# The public names are listed in __init__.pyi and loaded when they are first used.
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
