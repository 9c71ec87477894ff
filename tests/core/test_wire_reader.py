"""The wire reader against protobuf's own parser: random models that onnx allows, each written down in a random one of
the ways that protobuf allows; and the same with bytes damaged.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import onnx
import pytest
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import DecodeError, Message
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto

from analyzer.errors import BadModel
from analyzer.graph import DTYPES
from analyzer.load import load, strip
from analyzer.load.strip import forget, is_small
from analyzer.load.wire import FEW_BYTES, structure_of, structure_of_chunks

COUNTS = (0, 1, 3, 40, 64, 65, 123, 124, 1000, 21_000)
"""Elements: around what is small, and beyond what any small tensor takes up on the wire."""

STORED: tuple[tuple[int, str, float], ...] = (
    (TensorProto.FLOAT, "float_data", 0.5),
    (TensorProto.FLOAT16, "int32_data", 15360),
    (TensorProto.INT32, "int32_data", -7),
    (TensorProto.BOOL, "int32_data", 1),
    (TensorProto.INT64, "int64_data", -(2**40)),
    (TensorProto.DOUBLE, "double_data", 1e300),
    (TensorProto.UINT64, "uint64_data", 2**63),
)
ITEM_BYTES = {1: 4, 10: 2, 6: 4, 9: 1, 7: 8, 11: 8, 13: 8}


# ---- models


def tensor(random: Random, name: str) -> TensorProto:
    """A stored tensor: raw, typed, of strings, or outside of the file."""
    count = random.choice(COUNTS)
    stored = TensorProto(name=name, dims=random.choice(([count], [1, count], [count, 1])))
    stored.data_type, field, value = random.choice(STORED)
    way = random.randrange(8)
    if way == 0:
        stored.data_type = TensorProto.STRING
        stored.string_data.extend([random.randbytes(random.choice((0, 5, 300)))] * count)
    elif way == 1:
        stored.data_location = TensorProto.EXTERNAL
        length = str(count * ITEM_BYTES[stored.data_type])
        for key, text in random.sample([("location", "w.bin"), ("offset", "64"), ("length", length)], 3):
            stored.external_data.add(key=key, value=text)
    elif way < 5:
        stored.raw_data = random.randbytes(1) * (count * ITEM_BYTES[stored.data_type])
    else:
        getattr(stored, field).extend([value] * count)
    if random.random() < 0.2:
        stored.doc_string = "what it is " * random.choice((1, 100))
    return stored


def sparse(random: Random, name: str) -> onnx.SparseTensorProto:
    """Some numbers among zeros."""
    values = tensor(random, name)
    where = TensorProto(data_type=TensorProto.INT64, dims=[values.dims[0]], int64_data=range(values.dims[0]))
    return onnx.SparseTensorProto(values=values, indices=where, dims=[values.dims[0], 9])


def attribute(random: Random, name: str, depth: int) -> AttributeProto:
    """Every kind that holds a tensor, at any depth, and some that do not."""
    kinds = AttributeProto
    made = kinds(name=name)
    way = random.randrange(8 if depth < 2 else 7)
    if way == 0:
        made.type, made.i = kinds.INT, -1
    elif way == 1:
        made.type = kinds.INTS
        made.ints.extend([1, -1, 2**40])
    elif way == 2:
        made.type = kinds.FLOATS
        made.floats.extend([0.5] * random.choice((1, 500)))
    elif way == 3:
        made.type, made.s = kinds.STRING, random.randbytes(9)
    elif way == 4:
        made.type = kinds.TENSOR
        made.t.CopyFrom(tensor(random, name))
    elif way == 5:
        made.type = kinds.TENSORS
        made.tensors.extend([tensor(random, name), tensor(random, name)])
    elif way == 6:
        made.type = kinds.SPARSE_TENSOR
        made.sparse_tensor.CopyFrom(sparse(random, name))
    else:
        made.type = kinds.GRAPH
        made.g.CopyFrom(graph(random, name, depth + 1))
    return made


def nodes(random: Random, prefix: str, known: list[str], depth: int) -> Iterator[onnx.NodeProto]:
    """Each reads what came before it."""
    for index in range(random.randrange(4)):
        made = onnx.NodeProto(op_type="Any", domain="some.where", output=[f"{prefix}.n{index}"])
        made.input.extend(random.sample(known, random.randrange(len(known) + 1)))
        made.attribute.extend(
            attribute(random, f"{prefix}.a{index}{i}", depth) for i in range(random.randrange(3))
        )
        known.append(made.output[0])
        yield made


def graph(random: Random, prefix: str, depth: int = 0) -> onnx.GraphProto:
    """A graph, whose names begin with `prefix`."""
    made = onnx.GraphProto(name=prefix)
    made.initializer.extend(tensor(random, f"{prefix}.w{i}") for i in range(random.randrange(3)))
    if random.random() < 0.3:
        made.sparse_initializer.append(sparse(random, f"{prefix}.s"))
    known = [stored.name for stored in made.initializer]
    made.node.extend(nodes(random, prefix, known, depth))
    made.output.extend(onnx.ValueInfoProto(name=name) for name in known[-1:])
    return made


def model(random: Random) -> onnx.ModelProto:
    """A whole model: its graph, functions, and what is left of its training."""
    made = onnx.ModelProto(ir_version=10, producer_name="who", graph=graph(random, "g"))
    made.opset_import.add(version=21)
    made.opset_import.add(domain="some.where", version=1)
    for index in range(random.randrange(2)):
        function = made.functions.add(name=f"f{index}", domain="some.where")
        function.node.extend(nodes(random, f"f{index}", [], 0))
    if random.random() < 0.3:
        made.training_info.add(initialization=graph(random, "t"), algorithm=graph(random, "u"))
    if random.random() < 0.3:
        made.metadata_props.add(key="k", value="v" * 200)
    return made


# ---- and what is on the wire

_FIXED = {Field.TYPE_FLOAT: "<f", Field.TYPE_DOUBLE: "<d"}
_VARINTS = (Field.TYPE_INT32, Field.TYPE_INT64, Field.TYPE_UINT64, Field.TYPE_ENUM, Field.TYPE_BOOL)


def varint(number: int, longer: int = 0) -> bytes:
    """A number as protobuf writes it, or `longer` than it need be."""
    number &= 2**64 - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    for _ in range(min(longer, 10 - len(encoded))):
        encoded[-1] |= 0x80
        encoded.append(0)
    return bytes(encoded)


def sized(data: bytes) -> bytes:
    return varint(len(data)) + data


def written(message: Message, random: Random) -> bytes:
    """The message in one of the ways that protobuf reads as itself."""
    return b"".join(fields(message, random))


def fields(message: Message, random: Random) -> list[bytes]:
    """A message's fields: repeated numbers packed or not, singular ones set twice, messages in two parts, all in any
    order, tags longer than they need be, and some that nobody knows.
    """
    found = [b"".join(one_field(field, value, random)) for field, value in message.ListFields()]
    if random.random() < 0.2:
        wire, data = random.choice(((0, varint(7)), (1, bytes(8)), (5, bytes(4)), (2, sized(b"abc"))))
        found.append(varint(random.choice((500, 2**29 - 1)) << 3 | wire) + data)
    if random.random() < 0.3:
        random.shuffle(found)
    return found


def one_field(field: Field, value: Any, random: Random) -> Iterator[bytes]:
    """Its tag and its value, as often as they come."""
    longer = random.choice((0, 0, 0, 1, 3))
    numbers = field.type in (*_FIXED, *_VARINTS)
    values = list(value) if field.is_repeated else [value]
    if field.is_repeated and numbers and random.random() < 0.5:
        cut = random.randrange(len(values) + 1)
        for part in (values[:cut], values[cut:]):
            yield varint(field.number << 3 | 2, longer)
            yield sized(b"".join(number(field, item) for item in part))
        return
    if field.message_type is None and not field.is_repeated and random.random() < 0.2:
        values.insert(0, 1 if numbers else b"before")
    for item in values:
        if numbers:
            wire = {Field.TYPE_FLOAT: 5, Field.TYPE_DOUBLE: 1}.get(field.type, 0)
            yield varint(field.number << 3 | wire, longer) + number(field, item)
            continue
        tag = varint(field.number << 3 | 2, longer)
        if field.message_type is None:
            yield tag + sized(item.encode() if isinstance(item, str) else item)
            continue
        inside = fields(item, random)
        cut = len(inside) if field.is_repeated else random.randrange(len(inside) + 1)
        yield tag + sized(b"".join(inside[:cut]))
        if cut < len(inside):
            yield tag + sized(b"".join(inside[cut:]))


def number(field: Field, value: Any) -> bytes:
    return struct.pack(_FIXED[field.type], value) if field.type in _FIXED else varint(value)


def chunks(data: bytes, random: Random) -> Iterator[bytes]:
    """The data cut anywhere, also into nothing."""
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.choice((0, 1, 5, 50))))
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        yield data[start:end]


def tensors(message: Message) -> Iterator[TensorProto]:
    """Every tensor in a message, at any depth."""
    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from tensors(inner)


def left_out(structure: onnx.ModelProto, whole: onnx.ModelProto) -> list[TensorProto]:
    """Tensors whose numbers are not in the structure; in all else it is the whole."""
    found = []
    for ours, theirs in zip(tensors(structure), tensors(whole), strict=True):
        if ours != theirs:
            before = TensorProto.FromString(theirs.SerializeToString())
            assert ours.data_location == TensorProto.EXTERNAL
            forget(ours)
            forget(theirs)
            found.append(before)
    assert structure.SerializeToString(deterministic=True) == whole.SerializeToString(deterministic=True)
    return found


# ---- the reader

SEEDS = st.integers(0, 2**32 - 1)
"""A seed says which model, how it is written, where it is cut, and what is damaged."""


@given(seed=SEEDS, whole_bytes=st.sampled_from([0, 1, 30, 1000, 20_000]))
@settings(max_examples=150, deadline=None)
def test_the_structure_is_protobufs_own_reading_without_the_numbers_of_large_tensors(
    tmp_path_factory: pytest.TempPathFactory, seed: int, whole_bytes: int
) -> None:
    """By path, by bytes and by chunks alike; what is left out is large, and what is much is left out."""
    random = Random(seed)
    data = written(model(random), random)
    structure = structure_of(io.BytesIO(data), whole_bytes)
    assert structure_of_chunks(chunks(data, random), whole_bytes=whole_bytes) == structure
    path = tmp_path_factory.getbasetemp() / "model.onnx"
    path.write_bytes(data)
    with path.open("rb", buffering=0) as file:
        assert structure_of(file, whole_bytes) == structure
    gone = left_out(onnx.ModelProto.FromString(structure), onnx.ModelProto.FromString(data))
    for tensor in gone:
        dtype = DTYPES[tensor.data_type]
        assert not is_small(dtype, max(tensor.dims))
    for tensor in tensors(onnx.ModelProto.FromString(structure)):
        assert len(tensor.raw_data) <= max(FEW_BYTES, whole_bytes)
    assert structure_of(io.BytesIO(structure), whole_bytes) == structure


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_model_has_one_digest_however_it_comes(seed: int) -> None:
    """Whole, as its structure, stripped, or stripped of its structure."""
    random = Random(seed)
    data = written(model(random), random)
    digest = load(data).structure_sha256
    structure = structure_of(io.BytesIO(data), 0)
    for other in (structure, strip(data), strip(structure), strip(strip(data))):
        assert load(other).structure_sha256 == digest


def outcome(read: Callable[[bytes], Any], data: bytes) -> Any:
    """What comes of it, be it a refusal."""
    try:
        return read(data)
    except BadModel as fault:
        return fault


def damaged(data: bytes, random: Random) -> bytes:
    """Bytes changed, lost, or too many; or the end is missing."""
    broken = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        place = random.randrange(len(broken) + 1)
        way = random.randrange(4)
        if way == 0:
            broken[place : place + 1] = random.randbytes(1)
        elif way == 1:
            broken[place:place] = random.randbytes(random.choice((1, 3)))
        elif way == 2:
            del broken[place : place + random.choice((1, 2, 9))]
        else:
            del broken[place:]
    return bytes(broken)


@given(seed=SEEDS, whole_bytes=st.sampled_from([0, 30, 1000]))
@example(seed=2278, whole_bytes=0)
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_are_read_as_protobuf_reads_them_or_refused_with_an_offset(
    seed: int, whole_bytes: int
) -> None:
    """Never a hang, a crash or another exception; where protobuf refuses, so does loading, or else the damage lies in
    numbers that nobody looks at.
    """
    random = Random(seed)
    data = damaged(written(model(random), random), random)
    structure = outcome(lambda whole: structure_of(io.BytesIO(whole), whole_bytes), data)
    if isinstance(structure, BadModel):
        assert 0 <= int(structure.facts["offset"]) <= len(data)
        return
    assert structure_of_chunks(chunks(data, random), whole_bytes=whole_bytes) == structure
    try:
        whole = onnx.ModelProto.FromString(data)
    except DecodeError:
        return
    left_out(onnx.ModelProto.FromString(structure), whole)


@given(seed=SEEDS)
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_are_loaded_or_refused(seed: int) -> None:
    """By the loader as a whole: a model, or one error with a reason."""
    random = Random(seed)
    data = damaged(written(model(random), random), random)
    for read in (load, strip):
        found = outcome(read, data)
        if isinstance(found, BadModel):
            assert found.reason
            assert "\n" not in str(found)


LARGE = TensorProto(
    name="w", dims=[5000], data_type=TensorProto.FLOAT, raw_data=bytes(20_000)
).SerializeToString()


def in_graph(stored: bytes) -> bytes:
    """A model with one initializer, given by its bytes."""
    return b"\x08\x0a" + b"\x3a" + sized(b"\x2a" + sized(stored))


FAULTS = [
    pytest.param(
        LARGE + b"\x4a\xff\x7f", "NOT_ONNX", "longer than what holds it", id="a length past the end"
    ),
    pytest.param(LARGE + b"\x08" + b"\xff" * 11, "NOT_ONNX", "longer than ten bytes", id="an endless number"),
    pytest.param(LARGE + b"\x0b\x0c", "NOT_ONNX", "wire type 3", id="a group"),
    pytest.param(LARGE + b"\x0e", "NOT_ONNX", "wire type 6", id="no such wire type"),
    pytest.param(LARGE + b"\x00\x00", "NOT_ONNX", "number 0", id="no such field"),
    pytest.param(LARGE + b"\x0d\x00", "NOT_ONNX", "passes the end", id="half a number"),
]


@pytest.mark.parametrize(("stored", "reason", "told"), FAULTS)
def test_a_broken_rule_is_told_with_its_offset(stored: bytes, reason: str, told: str) -> None:
    """At the field that breaks it, behind 20,000 bytes that were skipped."""
    data = in_graph(stored) + bytes(8)
    with pytest.raises(BadModel, match=told) as caught:
        structure_of(io.BytesIO(data), 0)
    assert caught.value.reason == reason
    assert len(LARGE) <= int(caught.value.facts["offset"]) <= len(data)


def test_messages_within_messages_are_followed_as_far_as_protobuf_does() -> None:
    """A hundred deep; beyond that, a line that says where."""
    body = LARGE
    for _ in range(40):  # each a graph's node's attribute
        body = b"\x0a" + sized(b"\x2a" + sized(b"\x32" + sized(body)))
    with pytest.raises(BadModel) as caught:
        structure_of(io.BytesIO(b"\x3a" + sized(body)), 0)
    assert caught.value.reason == "NESTED_TOO_DEEPLY"
    assert int(caught.value.facts["offset"]) > 100


def test_a_tensor_with_much_text_and_few_numbers_keeps_them() -> None:
    """What is small is its numbers' to say, not its size on the wire."""
    stored = TensorProto(
        name="w", dims=[2], data_type=TensorProto.INT64, int64_data=[3, 4], doc_string="a" * 10**5
    )
    (found,) = tensors(
        onnx.ModelProto.FromString(structure_of(io.BytesIO(in_graph(stored.SerializeToString()))))
    )
    assert found == stored


def test_weights_on_disk_are_not_read(tmp_path: Path) -> None:
    """A file of 100 GB, nearly all of it a hole, is read at once."""
    length = 100 << 30
    stored = TensorProto(name="w", dims=[length // 4], data_type=TensorProto.FLOAT).SerializeToString()
    tail = stored + b"\x4a" + varint(length)  # raw_data
    inside = b"\x2a" + varint(len(tail) + length) + tail
    path = tmp_path / "sparse.onnx"
    with path.open("wb") as file:
        head = b"\x08\x0a\x42\x02\x10\x15\x3a" + varint(len(inside) + length) + inside
        file.write(head)
        file.truncate(len(head) + length)
    (weight,) = load(path).graph.initializers.values()
    assert weight.size is not None
    assert weight.size.bytes == length
