r"""Records to messages and back, errors to statuses and back. What travels, but not how.

`v1/` is generated from `proto/analyzer/v1/analyzer.proto` by `make proto`, which runs

    python -m grpc_tools.protoc -I analyzer/wire/v1=proto/analyzer/v1 --python_out=. --grpc_python_out=. \
        --mypy_out=quiet:. --mypy_grpc_out=quiet:. analyzer/wire/v1/analyzer.proto

(the left half of -I is the folder that the generated modules import one another from).
"""

from __future__ import annotations

from analyzer.wire.convert import from_message, to_message
from analyzer.wire.status import DOMAIN, from_status, to_status

__all__ = ["DOMAIN", "from_message", "from_status", "to_message", "to_status"]
