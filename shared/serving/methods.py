"""A service's methods, added to a server so that also bytes that are no message reach them, and are refused there.

gRPC's own answer to such bytes is UNKNOWN with the name of a Python class, whoever is calling.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from shared.serving.errors import Unreadable


class UnreadableRequest:
    """Stands in for a request that cannot be read: whoever looks for a field of it gets the refusal.

    Methods look at the token first, so that the token is also judged first.
    """

    def __getattr__(self, _field: str) -> NoReturn:
        """Raises Unreadable."""
        raise Unreadable


def add(service: ServiceDescriptor, servicer: object, server: grpc.aio.Server) -> None:
    """Adds every method of the service as the generated code would, apart from requests that cannot be read."""
    handlers = {method.name: _handler(method, getattr(servicer, method.name)) for method in service.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _handler(method: MethodDescriptor, behaviour: Callable[..., Any]) -> "grpc.RpcMethodHandler[Any, Any]":
    make = grpc.stream_stream_rpc_method_handler if method.client_streaming else grpc.unary_unary_rpc_method_handler
    return make(
        behaviour,
        request_deserializer=_reader(GetMessageClass(method.input_type)),
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )


def _reader(message: type[Message]) -> Callable[[bytes], Message | UnreadableRequest]:
    def read(data: bytes) -> Message | UnreadableRequest:
        try:
            return message.FromString(data)
        except DecodeError:
            return UnreadableRequest()

    return read
