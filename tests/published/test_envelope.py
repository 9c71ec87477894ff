"""The back of the envelope: the multiply-adds per stage of VGG-16 that a lecture printed, reproduced.

The lecture's network has no pool after conv5, so fc6 reads 14x14x512 = 100,352 numbers, and it has 100 classes. The
real VGG-16 stands beside it: the same convolutions, another fc6.
"""

from __future__ import annotations

import pytest

from analyzer import Report, analyze
from tests.conftest import shipped

LECTURE = {
    "conv1": "1.94e+09",
    "conv2": "2.77e+09",
    "conv3": "4.62e+09",
    "conv4": "4.62e+09",
    "conv5": "1.39e+09",
    "fc6": "4.11e+08",
    "fc7": "1.68e+07",
    "fc8": "4.10e+05",
}


def stage_macs(report: Report, stage: str) -> int:
    """Macs of the nodes of a stage: conv1_1, conv1_2, ... or conv1/...; a fully connected layer is one node."""
    rows = [
        row for row in report.nodes if row.name == stage or row.name.startswith((f"{stage}_", f"{stage}/"))
    ]
    assert rows, f"no node belongs to {stage}"
    return sum(row.macs or 0 for row in rows)


@pytest.mark.parametrize("stage", LECTURE)
def test_macs_of_a_stage_as_the_lecture_has_them(stage: str) -> None:
    """To the three figures that the lecture prints."""
    assert f"{stage_macs(analyze(shipped('vgg16_lecture')), stage):.2e}" == LECTURE[stage]


def test_macs_in_all_as_the_lecture_has_them() -> None:
    """The stages are all there is."""
    report = analyze(shipped("vgg16_lecture"))
    assert f"{report.totals.macs.known:.2e}" == "1.58e+10"
    assert sum(stage_macs(report, stage) for stage in LECTURE) == report.totals.macs.known


def test_the_lectures_fc6_reads_a_map_that_was_not_pooled() -> None:
    """14*14*512 = 100,352 inputs for each of 4096 outputs; the real network pools to 7*7*512 = 25,088."""
    assert stage_macs(analyze(shipped("vgg16_lecture")), "fc6") == 14 * 14 * 512 * 4096 == 100_352 * 4096
    assert stage_macs(analyze(shipped("vgg16")), "fc6") == 7 * 7 * 512 * 4096 == 102_760_448


@pytest.mark.parametrize("stage", ["conv1", "conv2", "conv3", "conv4", "conv5", "fc7"])
def test_the_other_stages_are_those_of_vgg16(stage: str) -> None:
    """Only fc6 and the number of classes differ."""
    assert stage_macs(analyze(shipped("vgg16")), stage) == stage_macs(
        analyze(shipped("vgg16_lecture")), stage
    )
