"""A `World` in compiled code: a pointer to its table of addresses.

This is the project's one extension of Numba: a type that stands for the `World`, how it comes in
from Python, and how `world.requests` becomes an array. The table is written before the kernel is
entered and never while it runs, and so are its loads marked: LLVM may keep an address in a register
across any write to the arrays themselves.
"""

from __future__ import annotations

from typing import Any, Final

import numba
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    models,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.arrayobj import make_array, populate_array

from planner.kernel.world import ARRAYS, MOST_DIMENSIONS, World


class WorldType(types.Type):
    """Numba's type of a `World`."""

    def __init__(self) -> None:
        super().__init__(name="World")


WORLD: Final = WorldType()
TABLE: Final = types.Array(types.int64, 2, "C")
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

    def generic_resolve(self, _type: WorldType, name: str) -> types.Array:
        dtype, dimensions = ARRAYS[name]
        return types.Array(numba.from_dtype(dtype), dimensions, "C")


@lower_getattr_generic(WorldType)
def _load_array(context: Any, builder: Any, _type: WorldType, world: Any, name: str) -> Any:
    dtype, dimensions = ARRAYS[name]
    kind = types.Array(numba.from_dtype(dtype), dimensions, "C")
    word = cgutils.intp_t
    row = builder.bitcast(world, word.as_pointer())
    row = builder.gep(row, [word(PLACES[name] * (1 + MOST_DIMENSIONS))])

    def load(place: int) -> Any:
        value = builder.load(builder.gep(row, [word(place)]))
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
        return value

    array = make_array(kind)(context, builder)
    shape = [load(1 + axis) for axis in range(dimensions)]
    strides = [word(dtype.itemsize)]
    for extent in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], extent))
    populate_array(
        array,
        data=builder.inttoptr(load(0), array.data.type),
        shape=shape,
        strides=strides,
        itemsize=word(dtype.itemsize),
        meminfo=None,
    )
    return array._getvalue()
