"""The lowering overhead of the lecture, as onnxruntime's kernels ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.verify import profile
from analyzer.verify.cpu import Setting, sections
from analyzer.verify.measure import Asked, measure
from analyzer.verify.subject import Subject
from tests.conftest import shipped

TILE_BYTES = 2 * 65_536
"""Of two threads."""


@pytest.fixture(name="subject", scope="module")
def subject_fixture(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return Subject(shipped("resnet50"), tmp_path_factory.mktemp("resnet50"))


def test_im2col_is_seen_in_an_unoptimised_resnet50(subject: Subject) -> None:
    """Of 20 convolutions that lower, 11 take the whole matrix and 9 a tile for each thread; 33 of 1x1 take nothing."""
    bound = subject.at(None)
    assert not isinstance(bound, str)
    asked = Asked(subject.model, "disable", 2, False, bound.feeds, runs=1, scratch="scratch.csv")
    (told,) = measure(subject.place, [asked])
    assert told.refusal is None
    taken = profile.scratch(Path(subject.place, "scratch.csv"))
    matrices = {row.name: row.lowering_bytes for row in bound.report.nodes if row.op_type == "Conv"}
    whole = [name for name, matrix in matrices.items() if taken[name] and taken[name] == matrix]
    tiled = [name for name in matrices if taken[name] == TILE_BYTES]
    free = [name for name in matrices if taken[name] == 0]
    assert (len(whole), len(tiled), len(free), len(matrices)) == (11, 9, 33, 53)
    assert all((matrices[name] or 0) > TILE_BYTES for name in tiled)


def test_scratch_of_every_node_is_predicted(subject: Subject) -> None:
    """All 175 of them, at one thread and at two, to the byte."""
    bound = subject.at(None)
    assert not isinstance(bound, str)
    found = sections(subject, bound, [Setting("disable", 1), Setting("disable", 2)])
    scratch = [section for section in found if section.kind == "scratch"]
    assert [(section.threads, section.compared, section.agreed) for section in scratch] == [
        (1, 175, 175),
        (2, 175, 175),
    ]
