"""How does an object travel between ranks?

As a short head and the raw memory of its arrays. Objects are pickled (protocol 5), their contiguous
arrays beside the pickle and not in it; the array verbs (`Send`, `Bcast`, ...) send a head of plain
text instead and pickle nothing. What is pickled is trusted: see `workflow.multinode.rabbitmq` for
how a group knows its own messages.
"""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workflow.multinode.errors import RanksDisagree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    Buffer = bytes | bytearray | memoryview

__all__ = ["Message", "decode", "decode_into", "encode", "encode_array", "read", "write"]

_OBJECT, _ARRAY = b"o", b"a"


class Message(NamedTuple):
    """What is sent: a head, and memory that is sent as it is.

    Parameters
    ----------
    head : bytes
        A pickle, or dtype and shape of an array as text.
    buffers : sequence of buffer
        Each contiguous, in bytes.
    """

    head: bytes
    buffers: Sequence[Buffer] = ()

    def copied(self) -> Message:
        """Give the same message in memory of its own."""
        return Message(self.head, [bytearray(b) for b in self.buffers])


def encode(obj: Any) -> Message:
    """Make a message of any object that can be pickled; its arrays are not copied."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(obj, protocol=5, buffer_callback=buffers.append)
    return Message(_OBJECT + head, [b.raw() for b in buffers])


def decode(message: Message) -> Any:
    """Give the object of a message; its arrays use the message's memory.

    Raises
    ------
    RanksDisagree
        If an array verb sent it.
    """
    if message.head[:1] != _OBJECT:
        raise RanksDisagree(
            "An array that Send, Bcast or another verb with a capital sent is received by the same "
            "verb, with an array to receive it in."
        )
    return pickle.loads(message.head[1:], buffers=message.buffers)


def encode_array(array: NDArray[Any]) -> Message:
    """Make a message of an array, without pickle; it is copied only if it is not contiguous.

    Raises
    ------
    TypeError
        If its values are objects or records.
    """
    if array.dtype.hasobject or array.dtype.names:
        raise TypeError(
            f"Arrays of {array.dtype} have no plain memory to send; use the verb in small letters."
        )
    head = json.dumps([array.dtype.str, array.shape]).encode()
    plain = np.ascontiguousarray(array)
    return Message(_ARRAY + head, [plain.reshape(-1).view(np.uint8).data])


def decode_into(message: Message, out: NDArray[Any]) -> None:
    """Copy the array of a message into another of the same dtype and shape.

    Raises
    ------
    RanksDisagree
        If it is of another dtype or shape, or an object.
    """
    if message.head[:1] != _ARRAY:
        raise RanksDisagree("An object was sent where an array is received; use the same verb.")
    dtype, shape = json.loads(message.head[1:])
    if np.dtype(dtype) != out.dtype or tuple(shape) != out.shape:
        raise RanksDisagree(
            f"An array of {np.dtype(dtype)} {tuple(shape)} was sent, and one of {out.dtype} "
            f"{out.shape} is to receive it; make them the same."
        )
    out[...] = np.frombuffer(message.buffers[0], dtype=dtype).reshape(shape)


def write(connection: Connection, label: tuple[int, int], message: Message) -> None:
    """Write a message to a connection of multiprocessing, its memory as raw frames."""
    sizes = [memoryview(b).nbytes for b in message.buffers]
    connection.send_bytes(pickle.dumps((label, message.head, sizes)))
    for buffer in message.buffers:
        connection.send_bytes(buffer)


def read(connection: Connection) -> tuple[tuple[int, int], Message]:
    """Read a message that `write` wrote.

    Raises
    ------
    EOFError
        If the other end is closed.
    """
    label, head, sizes = pickle.loads(connection.recv_bytes())
    buffers = [bytearray(size) for size in sizes]
    for buffer in buffers:
        if buffer:
            connection.recv_bytes_into(buffer)
        else:
            connection.recv_bytes()
    return label, Message(head, buffers)
