"""armlet: from a trained model to one shared library that needs nothing but libc."""

__version__ = "0.1.0"
