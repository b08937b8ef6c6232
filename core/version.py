"""The library's version, in the one place that packaging and reports read it from. Uses nothing."""

__version__ = "0.1.0"
