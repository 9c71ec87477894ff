"""One conversion for all records: a msgspec Struct and the message of the same name have the same fields.

record                    message
T | None                  optional (a message field always is): None is absent
a default that is not 0   optional: absent is the default
tuple[T, ...]             repeated
dict[str, T]              map<string, T>
Literal["a", "b"]         string
a tuple that may be None, or is a map's value: a message of one repeated field, since neither can be repeated itself
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from msgspec import inspect

from analyzer.errors import TooLarge
from analyzer.wire.v1 import analyzer_pb2

Record = TypeVar("Record", bound=msgspec.Struct)


def to_message(record: msgspec.Struct) -> Any:
    """The message that says what the record says.

    Raises TooLarge where a number has more than the 64 bits that a message can carry.
    """
    kind: type[Message] = getattr(analyzer_pb2, type(record).__name__)
    try:
        return kind(**_converter(type(record)).write(record))
    except UnicodeError:
        raise
    except ValueError as error:  # the only thing that a well-typed record can get wrong
        raise TooLarge("NUMBER_TOO_LARGE", f"a figure of this model does not fit 64 bits: {error}") from None


def from_message(message: Message, kind: type[Record]) -> Record:
    """The record that says what the message says.

    Raises msgspec.ValidationError where a field is missing, or holds a word that the record does not know.
    """
    return msgspec.convert(_converter(kind).read(message), kind)


class _Converter(NamedTuple):
    """Both directions of one type, between the record's values and what protobuf's constructors and getters use."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


@cache
def _converter(kind: type[msgspec.Struct]) -> _Converter:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return _struct(info, getattr(analyzer_pb2, kind.__name__).DESCRIPTOR)


def _struct(info: inspect.StructType, descriptor: Descriptor) -> _Converter:
    """Written as keyword arguments, None standing for absent; read as a plain dict, absences left to the defaults."""
    fields = [(field, descriptor.fields_by_name[field.encode_name]) for field in info.fields]
    converters = [(ours.name, _field(ours.type, theirs)) for ours, theirs in fields]
    writers = [(name, converter and converter.write) for name, converter in converters]
    readers = [
        (name, converter and converter.read, theirs.has_presence, ours.required)
        for (ours, theirs), (name, converter) in zip(fields, converters, strict=True)
    ]

    def write(record: msgspec.Struct) -> dict[str, Any]:
        plain = msgspec.structs.asdict(record)
        for name, convert in writers:
            if convert is not None and plain[name] is not None:
                plain[name] = convert(plain[name])
        return plain

    def read(message: Message) -> dict[str, Any]:
        plain = {}
        for name, convert, optional, required in readers:
            if not optional or message.HasField(name):
                value = getattr(message, name)
                plain[name] = value if convert is None else convert(value)
            elif required:
                plain[name] = None
        return plain

    return _Converter(write, read)


def _field(ours: inspect.Type, theirs: FieldDescriptor) -> _Converter | None:
    """How to convert one field, None where nothing is to be done."""
    ours = _without_none(ours)
    if isinstance(ours, inspect.DictType):
        assert theirs.message_type is not None
        return _each_value(_value(ours.value_type, theirs.message_type.fields_by_name["value"]))
    if isinstance(ours, inspect.VarTupleType) and theirs.is_repeated:
        return _each(_value(ours.item_type, theirs))
    return _value(ours, theirs)


def _value(ours: inspect.Type, theirs: FieldDescriptor) -> _Converter | None:
    """How to convert one value: a whole field, an item of a repeated one, or a map's value."""
    if isinstance(ours, inspect.StructType):
        assert theirs.message_type is not None
        return _struct(ours, theirs.message_type)
    if isinstance(ours, inspect.VarTupleType):
        assert theirs.message_type is not None
        return _wrapped(ours, theirs.message_type)
    return None


def _wrapped(ours: inspect.VarTupleType, wrapper: Descriptor) -> _Converter:
    """A tuple inside a message of one repeated field."""
    (inner,) = wrapper.fields
    items = _each(_value(ours.item_type, inner))
    return _Converter(
        lambda values: {inner.name: items.write(values)},
        lambda message: items.read(getattr(message, inner.name)),
    )


def _each(item: _Converter | None) -> _Converter:
    if item is None:
        return _Converter(list, list)
    return _Converter(lambda values: [*map(item.write, values)], lambda values: [*map(item.read, values)])


def _each_value(value: _Converter | None) -> _Converter:
    if value is None:
        return _Converter(dict, dict)
    return _Converter(
        lambda values: {key: value.write(item) for key, item in values.items()},
        lambda values: {key: value.read(item) for key, item in values.items()},
    )


def _without_none(kind: inspect.Type) -> inspect.Type:
    """T of T | None; other types as they are."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    (only,) = (member for member in kind.types if not isinstance(member, inspect.NoneType))
    return only
