"""A process that makes one session and ends: the only place that imports onnxruntime.

    python -P child.py MODEL LEVEL OUTPUT TOLD

MODEL and the file of its weights lie in a directory that nobody else uses, LEVEL is as onnxruntime calls it; what the
optimiser made of the graph is written to OUTPUT, which may be a pipe. The file TOLD says in JSON which release it was,
and the shapes of the graph's outputs as far as they are known, or what it had to say against the model. Nothing is run.
Started by its path, so that it loads neither this package nor what it does not need.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

_FATAL_ONLY = 4


def main(model: str, level: str, output: str, place: str) -> None:
    """Make the session. Weights are not packed for the kernels, which costs memory and does not change the graph."""
    import onnxruntime

    told: dict[str, object] = {"release": onnxruntime.__version__}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = output
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        told["outputs"] = {output.name: output.shape for output in session.get_outputs()}
    except Exception as error:  # noqa: BLE001  # onnxruntime has many, without a common base, and all are said of the model
        told["refusal"] = str(error)
    Path(place).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
