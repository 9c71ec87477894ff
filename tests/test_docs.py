"""What the documents show is what the program says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analyzer import Options, analyze
from analyzer.render import operators, render
from models import memory_page

ROOT = Path(__file__).parents[1]


def test_the_report_in_the_readme_is_real() -> None:
    """The first thing one sees is today's output, letter by letter."""
    shown = re.search(
        r"```\n\$ onnx-analyzer analyze (\S+)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert shown is not None
    assert render(analyze(ROOT / shown[1]), "table").rstrip() == shown[2].rstrip()


def test_the_python_example_says_what_it_claims() -> None:
    """The figure in a comment of the README's example is computed."""
    shown = re.search(r"totals\.macs\.known  # (\d+)", (ROOT / "README.md").read_text())
    assert shown is not None
    report = analyze(ROOT / "models/resnet50.onnx", Options(dims={"batch": 8}))
    assert report.totals.macs.known == int(shown[1])


def test_the_page_of_operators_is_fresh() -> None:
    """docs/operators.md is what `onnx-analyzer ops --format markdown` prints."""
    assert (ROOT / "docs/operators.md").read_text() == operators.markdown()


@pytest.mark.parametrize(("column", "model"), [(1, "vgg16_lecture"), (2, "vgg16")])
def test_the_table_of_the_envelope_is_computed(column: int, model: str) -> None:
    """Multiply-adds per stage in docs/lecture.md equal the sums over the shipped models' nodes."""
    text = (ROOT / "docs/lecture.md").read_text()
    rows = re.findall(r"^\| (\w+) \| [\d.e]+ \| ([\d,]+) \| ([\w, ]+) \|$", text, re.MULTILINE)
    assert [row[0] for row in rows] == [
        "conv1",
        "conv2",
        "conv3",
        "conv4",
        "conv5",
        "fc6",
        "fc7",
        "fc8",
        "total",
    ]
    report = analyze(ROOT / f"models/{model}.onnx")
    for stage, lecture, real in rows:
        shown = lecture if column == 1 or real == "the same" else real
        nodes = [node.macs or 0 for node in report.nodes if stage == "total" or stage in node.name]
        assert sum(nodes) == int(shown.replace(",", "")), stage


def test_the_page_of_memory_is_fresh() -> None:
    """The tables and pictures of docs/memory.md are what `python models/memory_page.py` writes."""
    page = memory_page.PAGE.read_text(encoding="utf-8")
    assert memory_page.filled(page) == page


def test_the_attention_overtakes_at_a_length_of_512() -> None:
    """What docs/memory.md says of BERT: the feed-forward part sets the peak at 128 words, the attention at 512."""
    peaks = {words: memory_page.bert(words).memory.inference.peak_node or "" for words in (128, 512)}
    assert "feed_forward" in peaks[128]
    assert "attention" in peaks[512]


def test_every_benchmark_is_listed() -> None:
    """bench/README.md names each script, and `make bench` runs those of its first table."""
    alone, others = (
        set(re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \|", part, re.MULTILINE))
        for part in (ROOT / "bench/README.md").read_text().split("The others")
    )
    assert alone | others == {path.stem for path in (ROOT / "bench").glob("*.py")}
    run = re.search(r"for script in ([\w ]+);", (ROOT / "Makefile").read_text())
    assert run is not None
    assert alone == set(run[1].split())
