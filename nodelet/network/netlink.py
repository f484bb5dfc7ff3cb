"""pyroute2, of which a nodelet needs a third.

The package's own `__init__` loads all of it: a database of the network in SQLite, Plan 9, traffic control, … That is
five megabytes, of the eighty that a nodelet may have. Here its parts are loaded without it; whoever asks the package
for something that is none of its parts gets the whole of it, as ever.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_NAME = "pyroute2"


class _Package(ModuleType):
    """The package before its `__init__` was run."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        part = f"{_NAME}.{name}"
        if importlib.util.find_spec(part) is not None:
            return importlib.import_module(part)
        self.__class__ = ModuleType  # type: ignore[assignment]
        loader = self.__spec__.loader if self.__spec__ is not None else None
        assert loader is not None, "it was found"
        loader.exec_module(self)
        return getattr(self, name)


def _package(spec: ModuleSpec) -> ModuleType:
    made = _Package(_NAME)
    made.__spec__, made.__loader__, made.__file__ = spec, spec.loader, spec.origin
    made.__path__ = list(spec.submodule_search_locations or ())
    return made


if _NAME not in sys.modules:
    _found = importlib.util.find_spec(_NAME)
    assert _found is not None, f"{_NAME} is installed with podium[nodelet]"
    sys.modules[_NAME] = _package(_found)

from pyroute2.iproute import IPRoute  # noqa: E402 - the package is there now
from pyroute2.netlink.exceptions import NetlinkError  # noqa: E402
from pyroute2.netlink.nfnetlink.nfctsocket import IPS_SEEN_REPLY, NFCTAttrTuple, NFCTSocket  # noqa: E402

__all__ = ["IPS_SEEN_REPLY", "IPRoute", "NFCTAttrTuple", "NFCTSocket", "NetlinkError"]
