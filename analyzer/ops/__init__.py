"""One rule per op type, in one file per family of arithmetic. Adding an op touches one file: that of its family.

Every module of this package is read once, here, so that its rules are found.
"""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
