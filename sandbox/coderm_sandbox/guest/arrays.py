"""numpy arrays and numbers by value, in the zygotes that have numpy. No dtype with objects in it travels."""

from __future__ import annotations

import base64
import sys
from typing import Any

from .channel import WireError
from .codec import Codec, UnencodableError

__all__ = ["teach_arrays"]

_KINDS = frozenset("biufcSUMm")


def teach_arrays(codec: Codec) -> None:
    """Add numpy's array and scalar types to a codec, if numpy has been imported in this process."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        return

    def plain(dtype: Any) -> str:
        if dtype.kind not in _KINDS:
            raise UnencodableError("a numpy array of objects cannot travel")
        return str(dtype.str)

    def array_out(value: Any) -> list[Any]:
        known = codec.shared.number(value)
        if known is not None:
            return ["@", known]
        dtype = plain(value.dtype)
        number = codec.shared.add(value)
        return ["na", number, dtype, list(value.shape), data(value)]

    def data(value: Any) -> str:
        return base64.b64encode(value.tobytes()).decode("ascii")

    def build(dtype: Any, shape: Any, encoded: Any) -> Any:
        kind = numpy.dtype(dtype)
        if type(dtype) is not str or kind.kind not in _KINDS:
            raise WireError("sent an array of a wrong type")
        flat = numpy.frombuffer(base64.b64decode(encoded, validate=True), dtype=kind)
        return flat.reshape(shape).copy()

    def array_in(node: list[Any]) -> Any:
        value = build(*node[2:5])
        codec.shared.add(value, node[1])
        return value

    codec.add(numpy.ndarray, array_out, "na", array_in)
    for kind in {*numpy.sctypeDict.values()} - {numpy.object_, numpy.void}:
        codec.add(
            kind,
            lambda value: ["ns", plain(value.dtype), data(value)],
            "ns",
            lambda node: build(node[1], [], node[2])[()],
        )
    codec.add_filling(
        numpy.ndarray,
        lambda value: [plain(value.dtype), list(value.shape), data(value)],
        lambda value, contents: value.__setitem__(Ellipsis, build(*contents)),
    )
