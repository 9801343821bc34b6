"""Where tensors lie in a safetensors file: names and sizes of dtypes, and the header that says it."""

import json
import math
from collections.abc import Mapping

BYTES_PER_ELEMENT = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Size of an element by the format's name of its dtype."""

DTYPES = {
    "torch.bool": "BOOL", "torch.uint8": "U8", "torch.int8": "I8", "torch.uint16": "U16", "torch.int16": "I16",
    "torch.uint32": "U32", "torch.int32": "I32", "torch.uint64": "U64", "torch.int64": "I64",
    "torch.float8_e4m3fn": "F8_E4M3", "torch.float8_e5m2": "F8_E5M2", "torch.float16": "F16",
    "torch.bfloat16": "BF16", "torch.float32": "F32", "torch.float64": "F64", "torch.complex64": "C64",
}  # fmt: skip
"""The safetensors format's name of each of torch's dtypes."""


def tensor_header(
    forms: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, int]]:
    """The bytes before the data of tensors with these dtypes and shapes, and where behind them each lies, in order.

    As the safetensors library does, large types come first, so that all data are aligned.
    """
    content: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    places, position = dict.fromkeys(forms, 0), 0
    for name in sorted(forms, key=lambda name: (-BYTES_PER_ELEMENT[forms[name][0]], name)):
        (dtype, shape), places[name] = forms[name], position
        position += math.prod(shape) * BYTES_PER_ELEMENT[dtype]
        content[name] = {"dtype": dtype, "shape": shape, "data_offsets": [places[name], position]}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, places
