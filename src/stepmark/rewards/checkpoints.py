"""An unfinished training on the disk: whose it is, and where it goes on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from stepmark.errors import InputError
from stepmark.records import replacing
from stepmark.rewards.model import Spec

FINGERPRINT = "training.json"


def fingerprint(spec: Spec, base: str | Path, rows: Sequence[dict[str, Tensor]]) -> str:
    """What a training depends on, in short: one that goes on must be the same."""
    digest = hashlib.sha256(repr(asdict(spec)).encode())
    for file in sorted(Path(base).glob("*.safetensors")):
        digest.update(repr((file.name, file.stat().st_size, file.stat().st_mtime_ns)).encode())
    for row in rows:
        digest.update(repr((row["input_ids"].tolist(), row["labels"].tolist())).encode())
    return digest.hexdigest()


def resume(scratch: Path, mine: str) -> Path | None:
    """The newest whole checkpoint in `scratch` of the training whose fingerprint is `mine`; None: it begins."""
    file = scratch / FINGERPRINT
    if not file.is_file():
        scratch.mkdir(parents=True, exist_ok=True)
        with replacing(file) as writing:
            writing.write(json.dumps(mine).encode() + b"\n")
        return None
    if json.loads(file.read_bytes()) != mine:
        raise InputError(
            "an unfinished training of other examples, settings or another base is here",
            path=scratch,
            remedy="remove it, or choose another directory to write",
        )
    whole = [path.parent for path in scratch.glob("checkpoint-*/trainer_state.json") if _is_json(path)]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def _is_json(path: Path) -> bool:
    """Whether the file, which is the last one of a checkpoint, was written to its end."""
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True
