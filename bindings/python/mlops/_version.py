"""The package's version: that of libmlops, checked by the tests."""

__version__ = "0.1.0"
