"""onnx-analyzer: what a network costs, whether it fits, and what it sees.

from analyzer import analyze, Options
report = analyze("model.onnx", Options(dims={"batch": 8}))
"""

from __future__ import annotations

from analyzer.analysis import analyze, clipped_field
from analyzer.errors import AnalyzerError, BadInput, BadModel, BadOption
from analyzer.graph import Size
from analyzer.ops.rule import Facts, rule
from analyzer.options import Options
from analyzer.report import Report

__all__ = [
    "AnalyzerError",
    "BadInput",
    "BadModel",
    "BadOption",
    "Facts",
    "Options",
    "Report",
    "Size",
    "analyze",
    "clipped_field",
    "rule",
]
__version__ = "0.1.0"
