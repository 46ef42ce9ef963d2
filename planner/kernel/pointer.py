"""A `World` in compiled code: a pointer to its table of addresses.

This is the project's one extension of Numba: a type that stands for the `World`, how it comes in
from Python, and how `world.requests` becomes an array. The table is written before the kernel is
entered and never while it runs, and so are its loads marked: LLVM may keep an address in a register
across any write to the arrays themselves.
"""

from __future__ import annotations

import operator
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    intrinsic,
    lower_builtin,
    lower_getattr_generic,
    models,
    overload,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.arrayobj import make_array, populate_array

from planner.kernel.world import ARRAYS, MOST_DIMENSIONS, Records, World


class WorldType(types.Type):
    """Numba's type of a `World`."""

    def __init__(self) -> None:
        super().__init__(name="World")


WORLD: Final = WorldType()
TABLE: Final = types.Array(types.int64, 2, "C")


class Rows(types.Array):
    """A one-dimensional array of the `World`; an index never counts from its end.

    So no access has to look at the sign of its index and at the length, which took 5% of the time.
    """

    def __init__(self, item: Any) -> None:
        super().__init__(item, 1, "C", name=f"Rows({item})")


register_model(Rows)(models.ArrayModel)


def _place_of(context: Any, builder: Any, rows: Rows, array: Any, index: Any) -> Any:
    """Return the address of an item."""
    view = make_array(rows)(context, builder, array)
    if context.enable_boundscheck:
        cgutils.do_boundscheck(context, builder, index, view.nitems, 0)
    return builder.gep(view.data, [index], inbounds=True)


@lower_builtin(operator.getitem, Rows, types.Integer)
def _get_item(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    rows, kind = signature.args
    index = context.cast(builder, arguments[1], kind, types.intp)
    place = _place_of(context, builder, rows, arguments[0], index)
    return context.unpack_value(builder, rows.dtype, place)


@lower_builtin(operator.setitem, Rows, types.Integer, types.Any)
def _set_item(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    rows, kind, given = signature.args
    index = context.cast(builder, arguments[1], kind, types.intp)
    place = _place_of(context, builder, rows, arguments[0], index)
    context.pack_value(
        builder, rows.dtype, context.cast(builder, arguments[2], given, rows.dtype), place
    )
    return context.get_dummy_value()


def _kind_of(dtype: np.dtype[Any], dimensions: int) -> Any:
    item = numba.from_dtype(dtype)
    return Rows(item) if dimensions == 1 else types.Array(item, dimensions, "C")


KINDS: Final[dict[str, Any]] = {name: _kind_of(*kind) for name, kind in ARRAYS.items()}
PLACES: Final = {name: place for place, name in enumerate(ARRAYS)}


@typeof_impl.register(World)
def _typeof_world(_world: World, _context: Any) -> WorldType:
    return WORLD


register_model(WorldType)(models.OpaqueModel)


@unbox(WorldType)
def _unbox_world(_type: WorldType, value: Any, c: Any) -> NativeValue:
    table = c.pyapi.object_getattr_string(value, "table")
    native = c.unbox(TABLE, table)
    c.pyapi.decref(table)  # the caller's `World` holds it
    data = make_array(TABLE)(c.context, c.builder, native.value).data
    return NativeValue(c.builder.bitcast(data, cgutils.voidptr_t), is_error=native.is_error)


@infer_getattr
class _WorldArrays(AttributeTemplate):
    key = WorldType

    def generic_resolve(self, _type: Any, name: str) -> Any:  # type: ignore[override]
        return KINDS[name]


@lower_getattr_generic(WorldType)
def _load_array(context: Any, builder: Any, _type: WorldType, world: Any, name: str) -> Any:
    kind = KINDS[name]
    item_bytes = ARRAYS[name][0].itemsize
    word = cgutils.intp_t
    row = builder.bitcast(world, word.as_pointer())
    row = builder.gep(row, [word(PLACES[name] * (1 + MOST_DIMENSIONS))])

    def load(place: int) -> Any:
        value = builder.load(builder.gep(row, [word(place)]))
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
        return value

    array = make_array(kind)(context, builder)
    shape = [load(1 + axis) for axis in range(kind.ndim)]
    strides = [word(item_bytes)]
    for extent in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], extent))
    populate_array(
        array,
        data=builder.inttoptr(load(0), array.data.type),
        shape=shape,
        strides=strides,
        itemsize=word(item_bytes),
        meminfo=None,
    )
    return array._getvalue()


CACHE_LINE_BYTES: Final = 64
RECORD_LINES: Final = 4
"""Cache lines of a record that are fetched: what the end of a request reads lies in these."""


def prefetch(records: Records, index: int) -> None:
    """Begin to fetch a record from memory, without waiting for it; changes nothing."""


@overload(prefetch)
def _prefetch(records: Any, index: Any) -> Any:
    def prefetch_lines(records: Any, index: Any) -> None:
        _prefetch_lines(records, index)  # type: ignore[call-arg]  # it stands for code

    return prefetch_lines


@intrinsic
def _prefetch_lines(_context: Any, records: Any, index: Any) -> Any:
    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        array = make_array(records)(context, builder, arguments[0])
        byte = cgutils.voidptr_t
        start = builder.mul(arguments[1], arguments[1].type(records.dtype.size))
        record = builder.gep(builder.bitcast(array.data, byte), [start])
        flag = cgutils.int32_t
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        for line in range(RECORD_LINES):
            place = builder.gep(record, [cgutils.intp_t(line * CACHE_LINE_BYTES)])
            builder.call(function, [place, flag(0), flag(3), flag(1)])  # to read, keep, data
        return context.get_dummy_value()

    return types.none(records, index), emit
