"""Words that stand in several records of a report."""

from __future__ import annotations

from typing import Literal

Status = Literal["complete", "partial", "unavailable"]
Role = Literal["input", "weight", "constant", "activation", "output"]
FieldStatus = Literal["none", "local", "prefix", "suffix", "global", "data_dependent", "opaque"]
Bound = Literal["compute", "memory"]
Phase = Literal["forward", "backward", "optimizer"]
