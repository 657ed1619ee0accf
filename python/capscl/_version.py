"""The version, that of the library for which this package was made (include/capscl/version.h)."""

__version__ = "0.1.0"
