"""Errors: every failure of the package is an `Error`, and also the built-in it belongs to.

`except mlops.Error` takes all of them; `except ValueError`, `TimeoutError`, `ConnectionError`, … work as in any Python
code. The message says what is wrong and what to do. `MlflowException` is MLflow's name for `Error`.
"""

from __future__ import annotations

from . import _core

__all__ = [
    "AlreadyExists",
    "DataLoss",
    "DeadlineExceeded",
    "Error",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "MlflowException",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "Unavailable",
    "Unimplemented",
    "WrongType",
]


class Error(Exception):
    """What all errors of the package are."""

    code = 11
    error_code = "INTERNAL_ERROR"  #: MLflow's name of the failure

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __str__(self) -> str:
        return self.message


class InvalidArgument(Error, ValueError):
    """A value is outside its documented range."""

    code = 1
    error_code = "INVALID_PARAMETER_VALUE"


class NotFound(Error, LookupError):
    """No such run, experiment or root."""

    code = 2
    error_code = "RESOURCE_DOES_NOT_EXIST"


class AlreadyExists(Error, ValueError):
    """A conflicting value is already there."""

    code = 3
    error_code = "RESOURCE_ALREADY_EXISTS"


class PermissionDenied(Error, PermissionError):
    """File permissions, or the server's 401 and 403."""

    code = 4
    error_code = "PERMISSION_DENIED"


class FailedPrecondition(Error, RuntimeError):
    """The wrong state: ended, closed, another server behind the URI."""

    code = 5
    error_code = "INVALID_STATE"


class ResourceExhausted(Error, OSError):
    """Disk, quota, memory, or the server's 413 and 429."""

    code = 6
    error_code = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(Error, TimeoutError):
    """The time given ran out; the work goes on in the background."""

    code = 7
    error_code = "DEADLINE_EXCEEDED"


class Unavailable(Error, ConnectionError):
    """Network or server away."""

    code = 8
    error_code = "TEMPORARILY_UNAVAILABLE"


class DataLoss(Error, OSError):
    """Bytes on disk are damaged."""

    code = 9
    error_code = "DATA_LOSS"


class Unimplemented(Error, NotImplementedError):
    """This release, server or build cannot do it; the message says what to do instead."""

    code = 10
    error_code = "NOT_IMPLEMENTED"


class Internal(Error, RuntimeError):
    """A bug of ours."""


class WrongType(Error, TypeError):
    """A value of a type that cannot be taken."""

    code = 100
    error_code = "INVALID_PARAMETER_VALUE"


MlflowException = Error

_core.set_error_types(
    {
        kind.code: kind
        for kind in (
            InvalidArgument,
            NotFound,
            AlreadyExists,
            PermissionDenied,
            FailedPrecondition,
            ResourceExhausted,
            DeadlineExceeded,
            Unavailable,
            DataLoss,
            Unimplemented,
            Internal,
            WrongType,
        )
    }
)
