from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from msgspec import inspect

from analyzer.errors import (
    AnalyzerError,
    BadInput,
    BadModel,
    BadOption,
    Crashed,
    TooLarge,
    TooSlow,
    Unavailable,
)
from analyzer.options import Options
from analyzer.report import FieldRow, Report, TensorRow, Warning
from analyzer.wire import from_message, from_status, to_message, to_status
from analyzer.wire.v1 import analyzer_pb2
from tests.doors import standins

# ---- records and messages have the same fields

SCALARS: dict[type[inspect.Type], int] = {
    inspect.IntType: FieldDescriptor.TYPE_INT64,
    inspect.StrType: FieldDescriptor.TYPE_STRING,
    inspect.LiteralType: FieldDescriptor.TYPE_STRING,
    inspect.FloatType: FieldDescriptor.TYPE_DOUBLE,
    inspect.BoolType: FieldDescriptor.TYPE_BOOL,
}


def differences(ours: inspect.StructType, theirs: Descriptor) -> Iterator[str]:
    """Each field that a record or its message forgot, or that they understand differently."""
    fields = {field.encode_name: field for field in ours.fields}
    for name in fields.keys() - theirs.fields_by_name.keys():
        yield f"{theirs.name}.{name}: missing in the .proto"
    for name in theirs.fields_by_name.keys() - fields.keys():
        yield f"{theirs.name}.{name}: missing in the record"
    for name in fields.keys() & theirs.fields_by_name.keys():
        where, field = f"{theirs.name}.{name}", theirs.fields_by_name[name]
        yield from optionality(fields[name], field, where)
        yield from of_field(without_none(fields[name].type)[0], field, where)


def optionality(ours: inspect.Field, theirs: FieldDescriptor, where: str) -> Iterator[str]:
    """A scalar is optional where None, or another default than protobuf's, must be told from absence."""
    _, nullable = without_none(ours.type)
    if theirs.message_type is None and not theirs.is_repeated:
        wanted = nullable or ours.default not in (msgspec.NODEFAULT, 0, "")
        if theirs.has_presence != wanted:
            yield f"{where}: must {'' if wanted else 'not '}be optional"
    elif nullable and theirs.is_repeated:
        yield f"{where}: may be None, which a repeated field cannot say"


def of_field(ours: inspect.Type, theirs: FieldDescriptor, where: str) -> Iterator[str]:
    is_map = theirs.message_type is not None and theirs.message_type.GetOptions().map_entry
    if isinstance(ours, inspect.DictType):
        if not is_map or theirs.message_type is None:
            yield f"{where}: a dict must be a map"
            return
        yield from of_value(ours.key_type, theirs.message_type.fields_by_name["key"], where)
        yield from of_value(ours.value_type, theirs.message_type.fields_by_name["value"], where)
    elif is_map:
        yield f"{where}: a map must be a dict"
    elif theirs.is_repeated:
        if isinstance(ours, inspect.VarTupleType):
            yield from of_value(ours.item_type, theirs, where)
        else:
            yield f"{where}: repeated must be a tuple"
    else:
        yield from of_value(ours, theirs, where)


def of_value(ours: inspect.Type, theirs: FieldDescriptor, where: str) -> Iterator[str]:
    message = theirs.message_type
    if isinstance(ours, inspect.StructType) and message is not None:
        if message.name != ours.cls.__name__:
            yield f"{where}: is {ours.cls.__name__} in the record, {message.name} in the .proto"
        yield from differences(ours, message)
    elif isinstance(ours, inspect.VarTupleType) and message is not None and len(message.fields) == 1:
        yield from of_value(ours.item_type, message.fields[0], where)
    elif message is not None or SCALARS.get(type(ours)) != theirs.type:
        yield f"{where}: is {type(ours).__name__} in the record, type {theirs.type} in the .proto"


def without_none(kind: inspect.Type) -> tuple[inspect.Type, bool]:
    """T and whether it was T | None."""
    if not isinstance(kind, inspect.UnionType):
        return kind, False
    (only,) = (member for member in kind.types if not isinstance(member, inspect.NoneType))
    return only, True


def info(kind: type[msgspec.Struct]) -> inspect.StructType:
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    return found


@pytest.mark.parametrize("kind", [Report, Options])
def test_record_and_message_have_the_same_fields(kind: type[msgspec.Struct]) -> None:
    """Born in one place, forgotten in the other: the name of the field is the failure."""
    assert sorted(differences(info(kind), getattr(analyzer_pb2, kind.__name__).DESCRIPTOR)) == []


class Extended(Warning, frozen=True):
    """A warning with fields that the .proto lacks, and others than it says."""

    severity: int = 0


class Changed(msgspec.Struct):
    """A tensor's row misunderstood in every way."""

    name: str | None
    role: int
    dtype: str
    shape: tuple[str, ...] | None
    colour: bool


@pytest.mark.parametrize(
    ("kind", "descriptor", "expected"),
    [
        (Extended, analyzer_pb2.Warning.DESCRIPTOR, ["Warning.severity: missing in the .proto"]),
        (
            Changed,
            analyzer_pb2.TensorRow.DESCRIPTOR,
            [
                "TensorRow.bytes: missing in the record",
                "TensorRow.colour: missing in the .proto",
                "TensorRow.dtype: must not be optional",
                "TensorRow.name: must be optional",
                "TensorRow.role: is IntType in the record, type 9 in the .proto",
                "TensorRow.shape: is StrType in the record, type 3 in the .proto",
            ],
        ),
    ],
)
def test_the_parity_test_sees(
    kind: type[msgspec.Struct], descriptor: Descriptor, expected: list[str]
) -> None:
    """The check above finds what was planted for it."""
    assert set(expected) <= set(differences(info(kind), descriptor))


def test_every_message_and_field_is_explained() -> None:
    """In the .proto a comment stands above the service, its call, each message and each field."""
    proto = Path(__file__).parents[2] / "proto" / "analyzer" / "v1" / "analyzer.proto"
    bare = [
        line.strip()
        for above, line in pairwise(proto.read_text().splitlines())
        if line.endswith((";", "{")) and not line.startswith(("syntax", "package", "//", "  oneof"))
        if not above.strip().startswith("//")
    ]
    assert bare == []


# ---- there and back

REPORTS = [
    standins.report(),
    standins.with_peak(standins.report()),
    standins.report(dims={"": 0, "batch": 8}, rows=0),
]
OPTIONS = [
    Options(),
    Options(
        dims={"batch": 0, "": 7}, shapes={"x": (1, 3, 224, 224), "scalar": ()}, optimizer="adam", lenient=True
    ),
]


@pytest.mark.parametrize("record", [*REPORTS, *OPTIONS])
def test_a_record_comes_back_as_it_was(record: msgspec.Struct) -> None:
    """None, 0, "", False, () and {} are told apart on the way, over the bytes themselves."""
    message = to_message(record)
    arrived = type(message).FromString(message.SerializeToString())
    assert from_message(arrived, type(record)) == record


def test_options_that_say_nothing_are_the_defaults() -> None:
    assert from_message(analyzer_pb2.Options(), Options) == Options()


def test_none_and_zero_differ_on_the_wire() -> None:
    known = [
        to_message(row)
        for row in (TensorRow("a", "input", None, None, None), TensorRow("a", "input", "", (), 0))
    ]
    assert [[row.HasField(name) for name in ("dtype", "shape", "bytes")] for row in known] == [
        [False] * 3,
        [True] * 3,
    ]


@pytest.mark.parametrize(
    ("message", "kind", "complaint"),
    [
        (analyzer_pb2.Report(schema_version=1), Report, r"\$\.model"),
        (analyzer_pb2.Options(optimizer="adamw"), Options, r"'adamw' - at `\$\.optimizer`"),
    ],
)
def test_a_message_that_is_no_record_is_refused(
    message: Message, kind: type[msgspec.Struct], complaint: str
) -> None:
    """A field that must be there, or a word outside its set: the place is named."""
    with pytest.raises(msgspec.ValidationError, match=complaint):
        from_message(message, kind)


def test_a_figure_beyond_64_bits_is_an_error() -> None:
    """It is never rounded or wrapped."""
    with pytest.raises(TooLarge, match="64 bits") as caught:
        to_message(TensorRow("a", "input", "float32", (2**63,), 2**65))
    assert caught.value.reason == "NUMBER_TOO_LARGE"


def test_thousands_of_rows_come_back_as_they_were() -> None:
    """5,000 tensors and 10,000 fields, as of a large model."""
    fields = tuple(
        FieldRow(f"t{i}", "x", 2, "local", 3, 3, "1", 1, 0.0, 3, 3, False, True) for i in range(10_000)
    )
    big = msgspec.structs.replace(standins.report(rows=5_000), receptive_fields=fields)
    assert from_message(to_message(big), Report) == big


# ---- errors

ERRORS = [
    AnalyzerError("ODD", "odd"),
    BadInput("FILE_NOT_FOUND", "no such file: a.onnx", path="a.onnx"),
    BadModel("TRUNCATED", "cut off at byte 7: é", offset=7, field=3),
    BadOption("UNKNOWN_DIM", "no such dimension", option="dims", dim=""),
    TooLarge("UPLOAD_TOO_LARGE", "too large", max_upload_bytes=1),
    TooSlow("DEADLINE", "too slow"),
    Unavailable("BUSY", "busy"),
    Crashed("WORKER_DIED", "it died", exit_code=-9),
]


def test_every_error_is_tried() -> None:
    def tree(kind: type[AnalyzerError]) -> set[type[AnalyzerError]]:
        return {kind}.union(*map(tree, kind.__subclasses__()))

    assert {type(error) for error in ERRORS} == tree(AnalyzerError)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_it_was(error: AnalyzerError) -> None:
    again = from_status(status_pb2.Status.FromString(to_status(error).SerializeToString()))
    assert (type(again), again.reason, again.message, again.facts) == (
        type(error), error.reason, error.message, error.facts,
    )  # fmt: skip


def test_an_option_at_fault_is_named_as_a_field() -> None:
    """Standard tools point at the field without knowing this project."""
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    first, second = to_status(BadOption("WRONG_RANK", "rank 3", option="shapes", input="x")).details
    assert first.Unpack(info)
    assert second.Unpack(request)
    assert (info.reason, info.domain, info.metadata["input"]) == ("WRONG_RANK", "onnx-analyzer", "x")
    assert [(v.field, v.description) for v in request.field_violations] == [
        ("start.options.shapes", "rank 3")
    ]


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [(3, BadInput, "INVALID_ARGUMENT"), (14, Unavailable, "UNAVAILABLE"), (12, AnalyzerError, "UNIMPLEMENTED"),
     (99, AnalyzerError, "UNKNOWN")],
)  # fmt: skip
def test_a_status_of_somebody_else_becomes_an_error_of_its_class(code: int, kind: type, reason: str) -> None:
    error = from_status(status_pb2.Status(code=code, message="what"))
    assert (type(error), error.reason, error.message) == (kind, reason, "what")


def test_facts_that_would_break_an_error_are_left_out() -> None:
    """What a server sends cannot make the client fail while it tells of a failure."""
    status = to_status(BadModel("NOT_ONNX", "no"))
    info = error_details_pb2.ErrorInfo(
        reason="X", domain="onnx-analyzer", metadata={"reason": "a", "message": "b"}
    )
    status.details[0].Pack(info)
    assert (from_status(status).reason, from_status(status).facts) == ("X", {})


def test_a_status_fits_into_headers() -> None:
    """Names in a model may be as long as it pleases its author; gRPC peers take 8 KiB of headers."""
    error = BadModel("NODE_REFUSED", "x" * 100_000, **{f"fact_{i}": "y" * 10_000 for i in range(100)})
    assert len(to_status(error).SerializeToString()) < 5_000
