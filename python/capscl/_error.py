"""The exception of all failures."""

from __future__ import annotations


class Error(Exception):
    """What the library or this package refuses or fails at: one line of text.

    The text is that of the program capscl, without its `capscl: `: it has the thing, the value and
    the need ("routing: iterations is 0, need >= 1").

    Attributes:
        status: the library's name of the kind of error, as "CAPS_ERR_NOT_FOUND" or
            "CAPS_ERR_ARGUMENT".
        build_log: where a kernel does not build, the beginning of the compiler's log, else "".
    """

    def __init__(
        self, message: str, status: str = "CAPS_ERR_ARGUMENT", build_log: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.build_log = build_log

    def __reduce__(self):
        return (type(self), (str(self), self.status, self.build_log))
