"""Whether a batch names a user, found without building its events: building takes three times as long. Pure.

The batch is read as a message that knows nothing but the users, and written again without what it does not know. That
leaves the tags and lengths of empty messages, and a user's tag only where a user is named.
"""

from course_analytics.v1 import ingest_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from ingest_server.wire import LENGTH_DELIMITED

Batch = ingest_pb2.TrackBatchRequest | ingest_pb2.TrackStreamRequest


def names_user(batch: Batch) -> bool:
    """Whether one of its events has a user_id, be it an empty one."""
    users = _Users.FromString(batch.SerializeToString())
    users.DiscardUnknownFields()
    written = users.SerializeToString()
    return any(tag in written for tag in _TAGS)


def _only(message: type[Message], *names: str) -> DescriptorProto:
    """The message without all other fields, which are optional ones of proto2."""
    whole = DescriptorProto()
    message.DESCRIPTOR.CopyToProto(whole)
    fields = [field for field in whole.field if field.name in names]
    for field in fields:
        field.ClearField("oneof_index")
        field.ClearField("proto3_optional")
    return DescriptorProto(name=whole.name, field=fields)


_WITH_USER = [_only(each, "user_id") for each in (ingest_pb2.TrackCourseViewRequest, ingest_pb2.TrackTelemetryRequest)]
_TAGS = {each.field[0].number << 3 | LENGTH_DELIMITED for each in _WITH_USER}
_EVENTS = [_only(ingest_pb2.Event, "course_view", "telemetry"), _only(ingest_pb2.TrackBatchRequest, "events")]
_FILE = FileDescriptorProto(name="users.proto", package="course_analytics.v1", message_type=[*_WITH_USER, *_EVENTS])
_POOL = DescriptorPool()
_POOL.AddSerializedFile(_FILE.SerializeToString())
_Users: type[Message] = GetMessageClass(_POOL.FindMessageTypeByName("course_analytics.v1.TrackBatchRequest"))
