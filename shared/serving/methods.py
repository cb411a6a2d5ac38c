"""Adds a service's methods to a server, so that a caller without a valid token costs only its verification.

A call is checked in this order: its token, its bytes by `admit`, its message. gRPC would first read, decompress and
parse the message: a kilobyte of an unknown caller could become a megabyte in memory. So every request is a stream to
gRPC: nothing is read before the caller is known, and then only the raw bytes.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from shared.identity.auth import Caller, TokenVerifier
from shared.serving.calls import Calls
from shared.serving.errors import TooLarge, Unreadable, answers_errors
from shared.serving.lifecycle import MAX_MESSAGE_BYTES
from shared.serving.sent import Sent

Request = TypeVar("Request", bound=Message)
Context = Any  # grpc.aio.ServicerContext, of bytes in one direction and messages in the other

# Returns the decompressed bytes of this method's request, or raises the ServiceError that refuses it to this caller.
Admit = Callable[[str, Sent, Caller], bytes]


def admit_small(_method: str, sent: Sent, _caller: Caller) -> bytes:
    """Admits every message that is not too large for a single call. Raises TooLarge or Unreadable."""
    if sent.size > MAX_MESSAGE_BYTES:
        raise TooLarge(sent.size, MAX_MESSAGE_BYTES)
    return sent.unpacked()


def add(
    service: ServiceDescriptor,
    servicer: object,
    server: grpc.aio.Server,
    verifier: TokenVerifier,
    admit: Admit = admit_small,
) -> Calls:
    """Adds the methods of the service that the servicer has, called as `_handler` says. Returns their calls."""
    calls = Calls()
    handlers = {
        method.name: _handler(method, getattr(servicer, method.name), verifier, admit, calls)
        for method in service.methods
        if hasattr(servicer, method.name)
    }
    # A registered method has a queue of its own, so a single call does not wait behind batches until it is accepted.
    server.add_registered_method_handlers(service.full_name, handlers)
    return calls


def parse(message: type[Request], data: bytes) -> Request:
    """The message in the bytes. Raises Unreadable."""
    try:
        return message.FromString(data)
    except DecodeError:
        raise Unreadable from None


def _handler(
    method: MethodDescriptor,
    behaviour: Callable[..., Awaitable[Any]],
    verifier: TokenVerifier,
    admit: Admit,
    calls: Calls,
) -> "grpc.RpcMethodHandler[Any, Any]":
    """A unary method is called with its message, its caller and the context.

    A stream's is called with caller and context; it reads and writes bytes.
    """
    name, message = method.name, GetMessageClass(method.input_type)

    async def unary(_requests: object, context: Context) -> Any:  # noqa: ANN401 - the message that the method answers with
        with calls:
            metadata = context.invocation_metadata()
            caller = verifier.caller(metadata) or await verifier.caller_by_new_keys(metadata)
            data = await context.read()
            if data is grpc.aio.EOF:
                raise Unreadable
            return await behaviour(parse(message, admit(name, Sent(data), caller)), caller, context)

    async def stream(_requests: object, context: Context) -> None:
        with calls:
            metadata = context.invocation_metadata()
            caller = verifier.caller(metadata) or await verifier.caller_by_new_keys(metadata)
            await behaviour(caller, context)

    serialize = GetMessageClass(method.output_type).SerializeToString
    if method.client_streaming:
        return grpc.stream_stream_rpc_method_handler(answers_errors(stream, name))
    return grpc.stream_unary_rpc_method_handler(answers_errors(unary, name), response_serializer=serialize)
