"""One rule per op type, in one file per family of arithmetic. Adding an op touches one file: that of its family.

Every module of this package is read once, here, so that its rules are found. An installed package adds ops of its own
by an entry point in the group `onnx_analyzer.ops` that names a module (or a function to call) which registers rules.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points

from analyzer.errors import BadInput
from analyzer.ops.nchwc import blocks_of as blocks_of

GROUP = "onnx_analyzer.ops"

for _module in pkgutil.iter_modules(__path__):  # `shared` among them: it registers nothing
    importlib.import_module(f"{__name__}.{_module.name}")


@cache
def extend() -> None:
    """Read what installed packages add, once. Raises BadInput (EXTENSION) where one of them fails."""
    for point in entry_points(group=GROUP):
        try:
            found = point.load()
            if callable(found):
                found()
        except Exception as error:  # noqa: BLE001  # whatever a stranger's module raises
            where = f"ops of the entry point {point.name!r} ({point.value})"
            told = f"{where} cannot be read: {type(error).__name__}: {error}"
            raise BadInput("EXTENSION", told, entry_point=point.name) from None
