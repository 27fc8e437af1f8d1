"""Messages between the harness and a worker: JSON and raw arrays in frames over a private pipe. Nothing is ever unpickled.

Frame: the magic word, the length of the header as 8 bytes, the header (JSON, with the dtype and shape of each array), then the
arrays' bytes. Whatever stands before a magic word is not ours and is skipped.
"""

import json
import struct
from typing import IO, Any

import numpy as np

from harness.spec import Arrays

MAGIC = b"\x93CONCORD"
LIMIT = 1 << 32  # bytes of one header or array; more is not a message of ours
Message = dict[str, Any]


def send(pipe: IO[bytes], message: Message, arrays: Arrays | None = None) -> None:
    """Write one frame and flush it."""
    contiguous = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
    if objects := [name for name, array in contiguous.items() if array.dtype.hasobject]:
        raise TypeError(f"{objects} hold Python objects, which do not travel")
    layout = [[name, array.dtype.str, array.shape] for name, array in contiguous.items()]
    header = json.dumps({"message": message, "arrays": layout}).encode()
    pipe.write(MAGIC + struct.pack("<Q", len(header)) + header)
    for array in contiguous.values():
        pipe.write(array.tobytes())
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[Message, Arrays]:
    """Read one frame. EOFError if the other side has closed the pipe, also in the middle of a frame."""
    window = exactly(pipe, len(MAGIC))
    while window != MAGIC:
        window = window[1:] + exactly(pipe, 1)
    (length,) = struct.unpack("<Q", exactly(pipe, 8))
    header = json.loads(exactly(pipe, length))
    arrays = {}
    for name, dtype, shape in header["arrays"]:
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise EOFError(f"the frame holds Python objects ({dtype})")
        data = exactly(pipe, kind.itemsize * int(np.prod(shape, dtype=np.int64)))
        arrays[name] = np.frombuffer(data, kind).reshape(shape)
    return header["message"], arrays


def exactly(pipe: IO[bytes], count: int) -> bytes:
    """``count`` bytes, or EOFError."""
    if count > LIMIT:
        raise EOFError(f"the frame claims {count} bytes")
    parts = []
    while count:
        parts.append(pipe.read(count))
        count -= len(parts[-1])
        if not parts[-1]:
            raise EOFError("the pipe was closed")
    return b"".join(parts)
