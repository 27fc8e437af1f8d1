"""JSON that anybody may have sent: each value of the kind it must be, or one sentence that says where it is not."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, Literal, get_args, get_origin

from harness.errors import HarnessError

LONGEST = 100_000  # characters of a text that are read; views would show the rest nowhere, and choke on it
DEEPEST = 50  # objects and lists within each other; views follow them all
LIMIT = 1 << 26  # bytes of a line, and of run.json; more is no record of ours


@contextmanager
def sound(where: object) -> Iterator[None]:
    """What is no JSON, or not of its kind, becomes one sentence."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RecursionError) as error:  # the last: brackets without end
        raise HarnessError(f"{where} is no record ({error}): restore it or remove the run.") from None


def parse(text: bytes) -> dict[str, Any]:
    """A JSON object; a ValueError or TypeError where there is none. Of a text that is very long, the beginning."""
    if len(text) > LIMIT:
        raise ValueError(f"longer than {LIMIT:,} bytes")
    value = json.loads(text)
    if b"\\ud" in text or b"\\uD" in text:  # it may be half a character, which no view could write
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    if not isinstance(value, dict):
        raise TypeError("it is not a JSON object")
    return clipped(value) if len(text) > LONGEST else value


def typed(found: Mapping[str, Any], kinds: Mapping[Any, Any]) -> Mapping[str, Any]:
    """What JSON held, each value by its name of the kind it must be; a TypeError names the first that is not."""
    for name, kind in kinds.items():
        if name in found and not fits([found[name]], kind):
            raise TypeError(f"{name!r} is not what it must be")
    return found


def fits(values: Collection[Any], kind: Any) -> bool:
    """Whether all values are of a kind: a type, an annotation, or a mapping of names to kinds; ``...`` stands for every name.

    An integer counts something: 0 to 2**63 - 1. It can stand for a float.
    """
    types = set(map(type, values))
    if kind is int or kind is float:
        counts = values if kind is int else [value for value in values if type(value) is int]
        return types <= {int, kind} and (not counts or 0 <= min(counts) <= max(counts) < 2**63)
    if kind is Any or isinstance(kind, type):
        return kind is Any or types <= {kind}
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        return types <= {tuple, list} and fits(list(chain.from_iterable(values)), inner[0])
    if origin is Literal:
        return all(value in inner for value in values)
    if inner and origin is not Mapping:  # a union
        return all(any(fits([value], one) for one in inner) for value in values)
    names = {...: inner[1]} if inner else kind
    every = ((k, [v for value in values for n, v in value.items() if name in {n, ...}]) for name, k in names.items())
    return types <= {dict} and all(fits(found, k) for k, found in every)


def depth(value: Any) -> int:
    """How many objects and lists of a JSON value lie within each other."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0)


def clipped(value: Any) -> Any:
    """A JSON value whose texts are no longer than LONGEST."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[:LONGEST] + "…"
    if isinstance(value, list):
        return value if set(map(type, value)) <= {int, float} else [clipped(each) for each in value]
    return {clipped(key): clipped(each) for key, each in value.items()} if isinstance(value, dict) else value
