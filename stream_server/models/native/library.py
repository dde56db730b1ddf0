"""The compiled kernels, as `layers.cpp` declares them. They are built with the package if there is a C++ compiler."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_bool, c_char_p, c_int64, c_void_p
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


class Norm(Structure):
    _fields_ = [("weight", c_void_p), ("bias", c_void_p), ("size", c_int64)]


class Linear(Structure):
    _fields_ = [("panels", c_void_p), ("steps", c_void_p), ("ones", c_void_p), ("bias", c_void_p), ("inputs", c_int64),
                ("outputs", c_int64)]


class EncoderLayer(Structure):
    _fields_ = [("norm1", Norm), ("queries_keys_values", Linear), ("taps", c_void_p), ("out", Linear), ("norm2", Norm),
                ("w_1", Linear), ("w_2", Linear), ("size", c_int64), ("heads", c_int64), ("kernel", c_int64)]


class DecoderLayer(Structure):
    _fields_ = [("norm1", Norm), ("w_1", Linear), ("hidden_norm", Norm), ("w_2", Linear), ("norm2", Norm),
                ("taps", c_void_p), ("norm3", Norm), ("queries", Linear), ("keys_values", Linear), ("out", Linear),
                ("size", c_int64), ("heads", c_int64), ("kernel", c_int64)]


class Past(Structure):
    _fields_ = [("frames", c_void_p), ("slot_apart", c_int64), ("slots", c_void_p), ("counts", c_void_p)]


class Lstm(Structure):
    _fields_ = [("inputs", Linear), ("hidden", Linear), ("size", c_int64)]


_VERSION = 5
"""Of the functions' arguments: a library from another time is not to be called."""

_SIGNATURES = {
    "stream_version": (),
    "stream_size_of": (c_char_p,),
    "stream_way": (),
    "stream_use_way": (c_char_p,),
    "stream_linear": (POINTER(Norm), POINTER(Linear), c_void_p, c_int64, c_void_p),
    "stream_encoder_layer": (POINTER(EncoderLayer), c_void_p, POINTER(Past), c_void_p, c_int64, c_int64, c_void_p,
                             c_void_p),
    "stream_encoder_project": (POINTER(EncoderLayer), c_void_p, c_int64, c_void_p, c_void_p, c_void_p),
    "stream_encoder_attend": (POINTER(EncoderLayer), c_int64, c_void_p, c_void_p, c_int64, c_int64, c_void_p),
    "stream_encoder_remember": (POINTER(EncoderLayer), c_void_p, c_int64, c_int64, c_void_p),
    "stream_encoder_feed": (POINTER(EncoderLayer), c_void_p, c_int64, c_void_p),
    "stream_lstm": (POINTER(Lstm), c_void_p, c_int64, c_int64, c_void_p, c_void_p, c_void_p),
    "stream_decoder_feed_forward": (POINTER(Norm), POINTER(Linear), POINTER(Norm), POINTER(Linear), c_void_p, c_int64,
                                    c_void_p),
    "stream_decoder_layer": (POINTER(DecoderLayer), c_void_p, c_void_p, c_void_p, c_void_p, POINTER(Past), c_void_p,
                             c_int64, c_int64, c_void_p, c_void_p),
}
_RESULTS = {"stream_version": c_int64, "stream_size_of": c_int64, "stream_way": c_char_p, "stream_use_way": c_bool}
_STRUCTURES = {structure.__name__: structure for structure in (Norm, Linear, EncoderLayer, DecoderLayer, Past, Lstm)}

_REMEDY = ("install a C++ compiler (Debian and Ubuntu: apt install g++), then ./run_stream.sh or pip install -e . once "
           "more")


@cache
def kernels() -> ctypes.CDLL:
    """The library. A call holds no lock of Python. Raises OSError, in a line, where it was not built or cannot run."""
    found = [path for suffix in EXTENSION_SUFFIXES if (path := Path(__file__).with_name(f"_layers{suffix}")).is_file()]
    if not found:
        raise OSError(f"its kernels are not built: {_REMEDY}")
    library = ctypes.CDLL(str(found[0]))
    try:
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, _RESULTS.get(name)
    except AttributeError:
        raise OSError(f"its kernels are not those of this version: {_REMEDY}") from None
    sizes = {name: ctypes.sizeof(structure) for name, structure in _STRUCTURES.items()}
    if library.stream_version() != _VERSION or any(library.stream_size_of(name.encode()) != size
                                                   for name, size in sizes.items()):
        raise OSError(f"its kernels are not those of this version: {_REMEDY}")
    if library.stream_way() is None:
        raise OSError("this needs an x86 processor with AVX2")
    return library


WAYS = ("avx2", "avx512-vnni", "amx-int8")
"""How products of bytes can be computed, the slowest first: all give the same to the bit."""


def way() -> str:
    """The one that is used: the fastest that this processor has, unless another was chosen. Raises OSError as
    `kernels` does."""
    return kernels().stream_way().decode()


def use_way(name: str) -> bool:
    """For who compares them, while nothing is computed: whether it runs here, and is used from now on."""
    return kernels().stream_use_way(name.encode())
