"""The nine light models of the onnx wheel against runs: a few tensors of each; `bench/fields.py light` looks at all."""

from __future__ import annotations

import pytest

pytest.importorskip("onnxruntime")

from analyzer import clipped_field
from analyzer.verify import rows
from analyzer.verify.fields import agreement
from tests.conftest import light
from tests.fields import here

TENSORS = {
    "bvlc_alexnet": "r4",
    "densenet121": "r7",
    "inception_v1": "r3",
    "inception_v2": "r7",
    "resnet50": "r6",
    "shufflenet": "r12",
    "squeezenet": "r11",
    "vgg19": "r1",
    "zfnet512": "r1",
}
"""Of each model one that a run comes to soon."""


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_of_each_sees_what_it_is_seen_to_see(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At five positions of each axis."""
    monkeypatch.setattr(rows, "_child", here.child)
    found = agreement(light(name), tensors=[TENSORS[name]], limits=here.UNLIMITED)
    assert {one.verdict for one in found.findings} == {"agree"}


def test_what_no_window_reads_is_not_seen() -> None:
    """The first pool of AlexNet drops rows 219 to 223, so that the last position of what follows ends before them."""
    seen = clipped_field(light("bvlc_alexnet"), "r4", {2: 24})
    assert next(rows for (_, axis), rows in seen.items() if axis == 2) == (176, 218)
