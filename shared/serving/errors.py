"""Every error that a caller can get, the one table from error to gRPC status, and the handler that applies it.

The gateway turns a status into REST: its code into the HTTP status, its message and details into the JSON body.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from shared import metrics
from shared.serving.refusals import refused

RETRY_AFTER = RetryInfo(retry_delay=Duration(seconds=1))

# The domain of the reasons in an ErrorInfo.
ERROR_DOMAIN = "course_analytics.v1"

Response = TypeVar("Response")


class Violation(NamedTuple):
    """What is wrong with one field; `field` is its path in JSON spelling, such as `lectureId`."""

    field: str
    description: str


class ServiceError(Exception):
    """An answer other than OK. The subclass fixes the code; the text goes to the caller.

    `cause` is one of a few words for the metrics; by default that of the class.
    """

    code = grpc.StatusCode.UNKNOWN
    cause = "unknown"

    def __init__(self, text: str, *, cause: str | None = None) -> None:
        super().__init__(text)
        if cause is not None:
            self.cause = cause

    def details(self) -> list[Message]:
        """The `google.rpc` messages that go with the text."""
        return []

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Its trailing metadata, which the gateway turns into headers."""
        return ()


class Unauthenticated(ServiceError):
    """No token, or not a valid one."""

    code = grpc.StatusCode.UNAUTHENTICATED
    cause = "token"

    def __init__(self, text: str, *, challenge: str = 'Bearer error="invalid_token"') -> None:
        super().__init__(text)
        self._challenge = challenge

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The header that HTTP callers need (RFC 6750, 3)."""
        return (("www-authenticate", self._challenge),)


class InvalidRequest(ServiceError):
    """One or more fields are wrong: all of them are named."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    cause = "fields"

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(f"{violation.field}: {violation.description}" for violation in violations))
        self.violations = violations

    def details(self) -> list[Message]:
        """One `BadRequest` that lists every bad field."""
        fields = [BadRequest.FieldViolation(field=field, description=text) for field, text in self.violations]
        return [BadRequest(field_violations=fields)]


class Unreadable(ServiceError):
    """The bytes of the request are malformed, so no field can be named."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    cause = "unreadable"

    def __init__(self) -> None:
        super().__init__("the request cannot be read: it is not the protobuf message of this method")


class TooLarge(ServiceError):
    """The request is larger than this method accepts."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    cause = "too_large"

    def __init__(self, size: int, most: int) -> None:
        super().__init__(f"the message has {size:,} bytes, and this method takes {most:,}")


class PermissionDenied(ServiceError):
    """The caller is known, but may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    cause = "permission"


class NotFound(ServiceError):
    """There is no such course, or no such lecture in it."""

    code = grpc.StatusCode.NOT_FOUND
    cause = "unknown_id"


class Implausible(ServiceError):
    """More watch time than the clock and the credit allow: nothing of the ping is counted."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    cause = "implausible"

    def __init__(self) -> None:
        super().__init__("watchTimeDelta: the user has not had the time to watch so much of this course")

    def details(self) -> list[Message]:
        """The reason in a word, for programs."""
        return [ErrorInfo(reason="IMPLAUSIBLE", domain=ERROR_DOMAIN)]


class Overloaded(ServiceError):
    """Too much is waiting already, or Redis is out of memory."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    cause = "overload"

    def details(self) -> list[Message]:
        """When to come back."""
        return [RETRY_AFTER]


class UserLimit(ServiceError):
    """The user has too many live event and playback ids. Earlier ones expire."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    cause = "user_limit"

    def __init__(self) -> None:
        super().__init__("the user has too many events and playbacks with ids; earlier ones are forgotten with time")

    def details(self) -> list[Message]:
        """The reason in a word, for programs."""
        return [ErrorInfo(reason="USER_LIMIT", domain=ERROR_DOMAIN)]


class Unavailable(ServiceError):
    """A store is unavailable. The request may or may not have taken effect."""

    code = grpc.StatusCode.UNAVAILABLE
    cause = "store"

    def details(self) -> list[Message]:
        """When to come back."""
        return [RETRY_AFTER]


class StoreRefuses(ServiceError):
    """A store permanently rejects the request: an operator has to act, the log has the reason."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    cause = "store"


class SpoiltKey(ServiceError):
    """The course's counters have been overwritten by another key: an operator has to act, the log names the key."""

    code = grpc.StatusCode.INTERNAL
    cause = "spoilt_key"

    def __init__(self) -> None:
        super().__init__("internal error")


class CallerGone(Unavailable):
    """The caller has gone."""


def status_of(error: ServiceError) -> Status:
    """The error as `google.rpc.Status`."""
    details = []
    for message in error.details():
        packed = AnyMessage()
        packed.Pack(message)
        details.append(packed)
    return Status(code=error.code.value[0], message=str(error), details=details)


async def _abort(context: "grpc.aio.ServicerContext[Any, Any]", error: ServiceError) -> NoReturn:
    status = rpc_status.to_status(status_of(error))
    await context.abort(status.code, status.details, (*status.trailing_metadata, *error.headers()))
    raise AssertionError("abort() raises")


def answers_errors(call: Callable[..., Awaitable[Response]], method: str) -> Callable[..., Awaitable[Response]]:
    """Makes a method's handler answer a ServiceError with its status, and anything else with INTERNAL without its text.

    `call` takes a request and the context; `method` is its name in metrics and logs.
    """
    metrics.CALLS_REFUSED.labels(method, "INTERNAL", "bug")  # else Prometheus misses the first error

    async def answer(request: object, context: "grpc.aio.ServicerContext[Any, Any]") -> Response:
        try:
            return await call(request, context)
        except ServiceError as error:
            if not isinstance(error, CallerGone):
                refused(method, error.code.name, error, cause=error.cause, metadata=context.invocation_metadata())
            await _abort(context, error)
        except Exception as error:  # noqa: BLE001 - logged, with its stack
            refused(method, "INTERNAL", error, cause="bug", metadata=context.invocation_metadata())
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")

    return answer
