"""Where to compute, in which number format, and how much at once."""

from typing import Literal

import torch

from stepmark.errors import InputError

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""`auto`: as the weights were saved, but float32 where the device would emulate bfloat16"""

BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16", "bf16")


def device() -> str:
    """The first GPU, or the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def room(device: str | torch.device) -> tuple[int, int]:
    """How many samples to run at once there, and bytes for their keys and values. On a GPU a step costs the same for
    few rows and for many; a quarter of its free memory leaves room for a reward model."""
    if torch.device(device).type != "cuda":
        return 1024, 4 << 30
    return 4096, torch.cuda.mem_get_info(device)[0] // 4


def bfloat16_is_fast(device: str | torch.device) -> bool:
    """Whether bfloat16 products have units of their own. A CPU without them takes ten times as long as for float32."""
    if torch.device(device).type != "cpu":
        return True
    known = torch.cpu.get_capabilities()
    return any(known.get(unit, False) for unit in BFLOAT16_UNITS)


def resolve(dtype: Dtype, saved: torch.dtype, device: str | torch.device) -> torch.dtype:
    """The format to compute in. Raises InputError for an unknown name."""
    match dtype:
        case "auto":
            return saved if saved == torch.float32 or bfloat16_is_fast(device) else torch.float32
        case "float32" | "bfloat16" | "float16":
            found: torch.dtype = getattr(torch, dtype)
            return found
        case _:
            raise InputError(f"dtype {dtype!r} is unknown", remedy="auto, float32, bfloat16 or float16")
