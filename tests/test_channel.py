"""Frames over a pipe: what goes in comes out, and whatever else stands there is skipped or refused."""

import io
import json
import os
import struct
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from harness import channel

DTYPES = (
    "?",
    "i1",
    "u1",
    "<i2",
    "<u4",
    "<i8",
    "<u8",
    "<f2",
    "<f4",
    "<f8",
    ">f8",
    ">i4",
    "<c8",
    "<c16",
    "<U5",
    "S3",
    "<M8[s]",
)
SHAPES = ((), (0,), (1,), (5,), (2, 0, 3), (2, 3, 4))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
messages = st.dictionaries(st.text(), json_values, max_size=5)
dtypes = (
    arrays_of.boolean_dtypes() | arrays_of.integer_dtypes() | arrays_of.unsigned_integer_dtypes() | arrays_of.floating_dtypes()
)
shapes = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
tensors = st.dictionaries(st.text(), arrays_of.arrays(dtypes.filter(lambda d: d.itemsize <= 8), shapes), max_size=4)


def frame(message: channel.Message, arrays: dict[str, np.ndarray] | None = None) -> bytes:
    """One message as bytes."""
    pipe = io.BytesIO()
    channel.send(pipe, message, arrays)
    return pipe.getvalue()


def made_by_hand(layout: list[Any], data: bytes = b"") -> bytes:
    """A frame with a layout that ``send`` would not write."""
    header = json.dumps({"message": {}, "arrays": layout}).encode()
    return channel.MAGIC + struct.pack("<Q", len(header)) + header + data


def same(found: np.ndarray, sent: np.ndarray) -> bool:
    """Equal dtype, shape and bytes."""
    return found.dtype == sent.dtype and found.shape == sent.shape and found.tobytes() == sent.tobytes()


def filled(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of any dtype with something in it."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape))
    words = bytes(range(1, 251)) * (count * kind.itemsize // 250 + 1)
    if kind.kind in "US":
        return np.array(["abc"] * count, kind).reshape(shape)
    return np.frombuffer(words[: count * kind.itemsize], kind).reshape(shape)


@settings(max_examples=30)
@given(messages, tensors)
def test_round_trip(message: channel.Message, arrays: dict[str, np.ndarray]) -> None:
    """Messages come back equal, arrays with their names, order, dtypes, shapes and bytes."""
    told, found = channel.receive(io.BytesIO(frame(message, arrays)))
    assert told == message
    assert list(found) == list(arrays)
    for name, sent in arrays.items():
        assert same(found[name], sent), name


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    """Empty arrays and those without an axis are no exception."""
    sent = filled(dtype, shape)
    _, found = channel.receive(io.BytesIO(frame({}, {"a": sent})))
    assert same(found["a"], sent)


def test_views_arrive_as_what_they_show() -> None:
    """Strides, a reversed axis, Fortran order: none of them is on the wire."""
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    views = {
        "step": base[::2, ::3],
        "reversed": base[::-1],
        "transposed": base.T,
        "wide": np.broadcast_to(base[0], (3, 6)),
    }
    _, found = channel.receive(io.BytesIO(frame({}, views)))
    for name, view in views.items():
        np.testing.assert_array_equal(found[name], view)


noise = st.binary(max_size=30).filter(lambda printed: channel.MAGIC not in printed)


@settings(max_examples=30)
@given(st.lists(st.tuples(noise, st.integers(0, len(channel.MAGIC) - 1), messages, tensors), max_size=4), noise)
def test_garbage_before_a_frame_is_skipped(sent: list[tuple[bytes, int, channel.Message, Any]], rest: bytes) -> None:
    """What a library prints before the channel is ours, half a magic word too, hides no message."""
    parts = [printed + channel.MAGIC[:half] + frame(message, arrays) for printed, half, message, arrays in sent]
    pipe = io.BytesIO(b"".join([*parts, rest]))
    for _, _, message, arrays in sent:
        told, found = channel.receive(pipe)
        assert told == message
        assert list(found) == list(arrays)
    with pytest.raises(EOFError):
        channel.receive(pipe)


def test_truncation_anywhere_is_the_end() -> None:
    """A worker that dies in the middle of a frame never leaves half a message."""
    whole = frame({"op": "trace"}, {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(0), "c": np.float32(1).reshape(())})
    for length in range(len(whole)):
        with pytest.raises(EOFError):
            channel.receive(io.BytesIO(whole[:length]))
    channel.receive(io.BytesIO(whole))


def test_short_reads_are_joined() -> None:
    """A pipe gives what it has; a frame larger than its buffer still arrives whole."""
    reading, writing = os.pipe()
    large = np.arange(1 << 17, dtype=np.float64)  # 1 MB, where a pipe holds 64 KB

    def send() -> None:
        with os.fdopen(writing, "wb") as pipe:
            channel.send(pipe, {"n": 1}, {"large": large})

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        _, found = channel.receive(pipe)
    sender.join()
    np.testing.assert_array_equal(found["large"], large)


def test_objects_are_not_received() -> None:
    """An object array would be pointers; a frame that claims one ends the conversation."""
    with pytest.raises(EOFError, match="Python objects"):
        channel.receive(io.BytesIO(made_by_hand([["a", "|O", [1]]], b"\0" * 8)))


def test_objects_are_not_sent() -> None:
    """Nothing of an object array reaches the pipe, so that what follows can still be read."""
    pipe = io.BytesIO()
    with pytest.raises((TypeError, ValueError)):
        channel.send(pipe, {}, {"a": np.array([object()])})
    assert pipe.getvalue() == b""


def test_a_message_that_is_no_json_is_not_sent() -> None:
    """A reply with an array in its message, or any other object, is an error before the first byte."""
    pipe = io.BytesIO()
    with pytest.raises(TypeError):
        channel.send(pipe, {"loss": np.float32(1)})
    assert pipe.getvalue() == b""


def test_absurd_lengths_are_refused() -> None:
    """A header or an array of more than the limit is no message of ours: nothing is allocated for it."""
    with pytest.raises(EOFError, match="claims"):
        channel.receive(io.BytesIO(channel.MAGIC + struct.pack("<Q", channel.LIMIT + 1)))
    with pytest.raises(EOFError, match="claims"):
        channel.receive(io.BytesIO(made_by_hand([["a", "<f8", [channel.LIMIT]]])))
