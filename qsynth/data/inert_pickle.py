"""Read the values in a pickle without executing it: nothing is imported, nothing is called.

The official CIFAR-10 Python archive is a pickle, and `pickle.load` would run whatever a forged
one says.  This reader knows the opcodes of plain containers and of a NumPy array's state; a
class is an inert name, a call is an inert pair.  Anything else is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qsynth.errors import DataError

MARK = object()


@dataclass
class Inert:
    """Stand for what a pickle would have called: the name, its arguments, its state."""

    name: str
    arguments: Any = None
    state: Any = None


def read_pickle(data: bytes) -> Any:
    """Return plain values; calls come back as Inert.  Raises DataError on unknown opcodes."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return stack.pop()
            if opcode.name in ("BINPUT", "LONG_BINPUT", "PUT"):
                memo[_number(argument)] = stack[-1]
            elif opcode.name in ("BINGET", "LONG_BINGET", "GET"):
                stack.append(memo[_number(argument)])
            elif opcode.name in LITERALS:
                stack.append(argument)
            elif opcode.name in CONSTANTS:
                stack.append(CONSTANTS[opcode.name]())
            elif opcode.name in ACTIONS:
                ACTIONS[opcode.name](stack, argument)
            elif opcode.name not in ("PROTO", "FRAME"):
                raise DataError(f"pickle opcode {opcode.name} is not read")
    except (IndexError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"not a pickle of plain values ({error})") from None
    raise DataError("a pickle that does not end")


def _number(argument: Any) -> int:
    return int(argument)


def _since_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1
    while stack[at] is not MARK:
        at -= 1
        if at < 0:
            raise IndexError("no mark")
    items = stack[at + 1 :]
    del stack[at:]
    return items


def _set_items(stack: list[Any], _: Any) -> None:
    items = _since_mark(stack)
    stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _set_item(stack: list[Any], _: Any) -> None:
    value, key = stack.pop(), stack.pop()
    stack[-1][key] = value


def _appends(stack: list[Any], _: Any) -> None:
    items = _since_mark(stack)
    stack[-1].extend(items)


def _append(stack: list[Any], _: Any) -> None:
    value = stack.pop()
    stack[-1].append(value)


def _tuple(size: int) -> Callable[[list[Any], Any], None]:
    def make(stack: list[Any], _: Any) -> None:
        items = tuple(stack[len(stack) - size :]) if size else tuple(_since_mark(stack))
        if size:
            del stack[len(stack) - size :]
        stack.append(items)

    return make


def _global(stack: list[Any], argument: Any) -> None:
    stack.append(Inert(str(argument)))


def _reduce(stack: list[Any], _: Any) -> None:
    arguments, called = stack.pop(), stack.pop()
    name = getattr(called, "name", "?")
    text = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if name == "_codecs encode" and isinstance(text, str):
        # How Python 3 writes bytes into an old pickle: text, to be read as Latin-1.
        stack.append(text.encode("latin-1"))
        return
    stack.append(Inert(name, arguments))


def _build(stack: list[Any], _: Any) -> None:
    state = stack.pop()
    stack[-1].state = state


LITERALS = {
    "BININT",
    "BININT1",
    "BININT2",
    "INT",
    "LONG1",
    "BINFLOAT",
    "FLOAT",
    "SHORT_BINSTRING",
    "BINSTRING",
    "STRING",
    "SHORT_BINBYTES",
    "BINBYTES",
    "BINUNICODE",
    "SHORT_BINUNICODE",
}
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: MARK,
}
ACTIONS: dict[str, Callable[[list[Any], Any], None]] = {
    "SETITEMS": _set_items,
    "SETITEM": _set_item,
    "APPENDS": _appends,
    "APPEND": _append,
    "TUPLE": _tuple(0),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "GLOBAL": _global,
    "REDUCE": _reduce,
    "BUILD": _build,
}
