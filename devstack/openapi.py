"""The REST API in OpenAPI 3.1, generated from the protos: their comments are the descriptions. Pure.

The JSON is what the gateway makes: names in camelCase; responses include zeros, empty strings and empty lists. A field
whose comment says "Required." is required in a request.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet

Schema = dict[str, Any]
Field = FieldDescriptorProto

PACKAGE = "course_analytics.v1"
HTTP_BODY = ".google.api.HttpBody"
WELL_KNOWN: Mapping[str, Schema] = {".google.protobuf.Timestamp": {"type": "string", "format": "date-time"}}
SCALARS: Mapping[int, Schema] = {
    Field.TYPE_STRING: {"type": "string"},
    Field.TYPE_INT32: {"type": "integer", "format": "int32"},
    Field.TYPE_DOUBLE: {"type": "number", "format": "double"},
    Field.TYPE_BOOL: {"type": "boolean"},
}
# The constraints that the comments state in words, for programs, by field name.
BOUNDS: Mapping[str, Schema] = {
    "(course|lecture)_id": {"pattern": "^[0-9a-f]{24}$"},
    "(event|playback)_id": {"pattern": "^[A-Za-z0-9_-]{1,64}$"},
    "user_id": {"minLength": 1, "maxLength": 256},
    "watch_time_delta": {"exclusiveMinimum": 0, "maximum": 300},
    "duration_seconds": {"exclusiveMinimum": 0, "maximum": 43_200},
    "(from|to)_seconds": {"minimum": 0, "maximum": 43_200},
    ".*_rate": {"minimum": 0, "maximum": 1},
    "(from_|to_)?day": {"format": "date"},
}
ERRORS: Mapping[str, str] = {
    "400": "A field is wrong: `google.rpc.BadRequest` in the details names every one. Or a limit of the gateway.",
    "401": "No token, or not a valid one.",
    "403": "Somebody else's course, or a `userId` without the scope `analytics:write`.",
    "404": "There is no such course or lecture.",
    "429": "Too much at once. Retry later, with the same `eventId`.",
    "503": "A store is away. Retry later, with the same `eventId`; `google.rpc.RetryInfo` in the details says when.",
    "default": "Any other error.",
}
ERROR: Schema = {
    "type": "object",
    "description": "What every error looks like, also one of the gateway's own.",
    "properties": {
        "code": {"type": "integer", "format": "int32", "description": "The gRPC status code."},
        "message": {"type": "string"},
        "details": {
            "type": "array",
            "description": "Messages of `google.rpc`, each with its type under `@type`.",
            "items": {"type": "object"},
        },
    },
    "required": ["code", "message", "details"],
}


def openapi(descriptors: bytes, description: str) -> str:
    """The document as YAML, from a descriptor set with comments."""
    files = [file for file in FileDescriptorSet.FromString(descriptors).file if file.package == PACKAGE]
    protos = Protos(files)
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Course analytics", "version": "v1", "description": description},
        "servers": [{"url": "http://127.0.0.1:8080", "description": "What `make run` starts."}],
        "security": [{"bearer": []}],
        "paths": dict(protos.paths()),
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "responses": _errors(),
            "schemas": {"Error": ERROR, **dict(sorted(protos.schemas.items()))},
        },
    }
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class Protos:
    """The protos of the package, and the schemas of the messages that paths refer to."""

    def __init__(self, files: Any) -> None:  # noqa: ANN401 - a list of FileDescriptorProto
        self.schemas: dict[str, Schema] = {}
        self._files = files
        self._messages: dict[str, tuple[DescriptorProto, str]] = {}
        self._enums: dict[str, tuple[EnumDescriptorProto, str]] = {}
        self._comments: dict[str, str] = {}
        for file in files:
            comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}
            for number, message in enumerate(file.message_type):
                self._know(f".{PACKAGE}.{message.name}", message, comments, (4, number))

    def paths(self) -> Iterator[tuple[str, Schema]]:
        """Every path with its one operation."""
        for file in self._files:
            comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}
            for one, service in enumerate(file.service):
                for two, method in enumerate(service.method):
                    rule = method.options.Extensions[annotations_pb2.http]
                    verb = rule.WhichOneof("pattern")
                    if verb is not None:
                        path = re.sub(r"{(\w+)}", lambda name: f"{{{_camel(name[1])}}}", getattr(rule, verb))
                        operation = self._operation(method, rule, text_of(comments.get((6, one, 2, two), "")))
                        yield path, {verb: {"tags": [service.name], **operation}}

    def _know(self, name: str, message: DescriptorProto, comments: Mapping[Any, str], path: tuple[int, ...]) -> None:
        self._messages[name] = (message, text_of(comments.get(path, "")))
        for number, field in enumerate(message.field):
            self._comments[f"{name}.{field.name}"] = text_of(comments.get((*path, 2, number), ""))
        for number, enum in enumerate(message.enum_type):
            values = [
                f"- `{value.name}`: {text_of(comments.get((*path, 4, number, 2, place), ''))}"
                for place, value in enumerate(enum.value)
                if value.number
            ]
            text = "\n".join([text_of(comments.get((*path, 4, number), "")), *values]).strip()
            self._enums[f"{name}.{enum.name}"] = (enum, text if ": " in text else "")

    def _operation(self, method: Any, rule: Any, text: str) -> Schema:  # noqa: ANN401 - descriptors
        in_path = re.findall(r"{(\w+)}", getattr(rule, rule.WhichOneof("pattern")))
        message, _ = self._messages[method.input_type]
        parameters = [
            self._parameter(method.input_type, field, "path") for field in message.field if field.name in in_path
        ]
        others = [field for field in message.field if field.name not in in_path]
        operation: Schema = {"operationId": method.name, "summary": text.partition(".")[0] + ".", "description": text}
        if rule.body:
            body = self._object(method.input_type, others, is_request=True)
            content = {"application/json": {"schema": body}}
            operation["requestBody"] = {"required": bool(body.get("required")), "content": content}
        else:
            parameters += [self._parameter(method.input_type, field, "query") for field in others]
        if parameters:
            operation["parameters"] = parameters
        errors = {status: {"$ref": f"#/components/responses/{status}"} for status in ERRORS}
        operation["responses"] = {"200": self._answer(method.output_type), **errors}
        return operation

    def _answer(self, output: str) -> Schema:
        if output == HTTP_BODY:
            return {"description": "The file.", "content": {"text/csv": {"schema": {"type": "string"}}}}
        return {"description": "OK", "content": {"application/json": {"schema": self._reference(output)}}}

    def _parameter(self, message: str, field: Field, place: str) -> Schema:
        schema = self._field(message, field, is_request=True)
        text = schema.pop("description", "")
        required = {"required": True} if place == "path" else {}
        return {"name": field.json_name, "in": place, **required, "description": text, "schema": schema}

    def _reference(self, name: str, *, is_request: bool = False) -> Schema:
        short = name.removeprefix(f".{PACKAGE}.")
        if short not in self.schemas:
            message, text = self._messages[name]
            self.schemas[short] = {}  # before its fields, which may refer back to it
            described = {"description": text} if text else {}
            self.schemas[short] = described | self._object(name, message.field, is_request=is_request)
        return {"$ref": f"#/components/schemas/{short}"}

    def _object(self, name: str, fields: Any, *, is_request: bool) -> Schema:  # noqa: ANN401 - a list of fields
        properties = {field.json_name: self._field(name, field, is_request=is_request) for field in fields}
        if is_request:
            required = [field.json_name for field in fields if "Required." in self._comments[f"{name}.{field.name}"]]
        else:
            required = [field.json_name for field in fields if _is_always_printed(field)]
        return {"type": "object", "properties": properties, **({"required": required} if required else {})}

    def _field(self, message: str, field: Field, *, is_request: bool) -> Schema:
        schema = self._type(field, is_request=is_request)
        for name, bounds in BOUNDS.items():
            if re.fullmatch(name, field.name):
                schema |= bounds
        if field.label == Field.LABEL_REPEATED:
            schema = {"type": "array", "items": schema}
        text = self._comments[f"{message}.{field.name}"]
        if field.type == Field.TYPE_ENUM:
            text = "\n\n".join(part for part in (text, self._enums[field.type_name][1]) if part)
        return schema | ({"description": text} if text else {})

    def _type(self, field: Field, *, is_request: bool) -> Schema:
        if field.type == Field.TYPE_ENUM:
            enum, _ = self._enums[field.type_name]
            return {"type": "string", "enum": [value.name for value in enum.value if value.number]}
        if field.type == Field.TYPE_MESSAGE:
            known = WELL_KNOWN.get(field.type_name)
            return dict(known) if known else self._reference(field.type_name, is_request=is_request)
        return dict(SCALARS[field.type])


def text_of(comment: str) -> str:
    """A comment without its remarks to the linter."""
    lines = [line.removeprefix(" ").rstrip() for line in comment.strip("\n").splitlines()]
    return "\n".join(line for line in lines if not line.startswith("buf:lint:")).strip()


def _is_always_printed(field: Field) -> bool:
    is_message = field.type == Field.TYPE_MESSAGE and field.label != Field.LABEL_REPEATED
    return not is_message and not field.proto3_optional


def _errors() -> Schema:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": text, "content": content} for status, text in ERRORS.items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)


class _Dumper(yaml.SafeDumper):
    """Writes multi-line strings as blocks, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - as PyYAML calls it
        """Never writes an alias."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
