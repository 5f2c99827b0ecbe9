"""Training an outcome or a process reward model: the whole of it, in the order in which it happens.

The parts have modules of their own: `dataset` (what a solution is for the model, and in which order solutions come),
`fit` (the updates), `epochs` (what is measured after each pass) and `checkpoints`.

While it runs, checkpoints and the loss of every update stand in `OUT.training`; a training that was killed goes on from
the last checkpoint to the weights and losses of one that was not. The folder is removed once the model is written.

Several processes that `torchrun` or `accelerate launch` starts train together, each on its part of every batch, to the
losses of one alone. All measure all held-out solutions; the first one writes. Where the last batch of an epoch is not
full, it is filled up with solutions from the epoch's beginning. A model that is too large for one GPU is spread over
several (FSDP, version 2) as the config of `accelerate launch` says, at the same losses; LoRA is then not covered.
"""

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from stepmark import __version__
from stepmark.errors import InputError
from stepmark.rewards.checkpoints import fingerprint, resume
from stepmark.rewards.dataset import encode, row, split
from stepmark.rewards.epochs import Epoch, Measure, epochs_of
from stepmark.rewards.examples import Encoder, Example, Kind, Layout
from stepmark.rewards.fit import adapt, fit
from stepmark.rewards.model import Spec, build, load_lm, save
from stepmark.rewards.settings import Train, check, first_process, processes


@dataclass(frozen=True, slots=True)
class TrainResult:
    path: Path
    epochs: tuple[Epoch, ...]
    losses: tuple[float, ...]
    """of every update, in order: the mean over its labelled tokens"""
    kept: int
    """the epoch whose weights were written, counted from 1"""
    trained: int
    """solutions"""
    held_out: int
    """solutions, of problems that no trained solution belongs to"""
    dropped: int
    """solutions left out because they are too long"""
    labels: int
    """trained steps (PRM) or solutions (ORM)"""
    mean_label: float
    """mean of their targets"""
    balance: dict[float, int] | None
    """labels of each value, where there are three values at most: the class balance, reported and never changed"""
    tokens: int
    """tokens of the trained solutions, once"""
    seconds: float
    """of this start"""


def train(
    kind: Kind,
    examples: Sequence[Example],
    base: str | Path,
    out: str | Path,
    settings: Train,
    *,
    measure: Measure | None = None,
) -> TrainResult:
    """Trains a reward model from the language model in directory `base` and writes it to the directory `out`, which
    must not exist yet. `orm` learns the examples' outcomes, `prm` their step targets. The same examples, base, settings
    and number of threads give the same weights, killed and called again or not.

    The loss is the mean over an update's labelled tokens of the cross-entropy with the target, a probability or one of
    three classes, or of the squared error. After every epoch the held-out solutions are measured, by `measure` too.
    The global random state of torch is set to the seed.

    Raises:
        InputError: `out` exists, the base lacks a part, an example cannot be used, or an unfinished training of other
            examples or settings is in the way; nothing is written.
    """
    begin = time.perf_counter()
    out = Path(out)
    check(kind, settings)
    if out.exists():
        raise InputError("exists already", path=out, remedy="choose another directory, or remove this one")
    lm, tokenizer = load_lm(base)
    if not torch.cuda.is_available():
        lm.set_attn_implementation("eager")  # backward on a CPU takes half the time of the fused kernel's
    spec = _spec(kind, lm, settings)
    net = build(lm, tokenizer, spec)
    items = encode(kind, examples, Encoder(tokenizer, spec.layout), settings)
    training, held_out = split(items, settings)
    rows = [row(item, kind, every_token=kind == "orm" and settings.every_token) for item in training]
    scratch = out.with_name(out.name + ".training")
    checkpoint = resume(scratch, fingerprint(spec, base, rows))
    adapted = adapt(lm, settings.lora) if settings.lora else None
    state, weights = fit(net, rows, held_out, settings, scratch=scratch, checkpoint=checkpoint, measure=measure)
    if adapted is not None:
        adapted.merge_and_unload()
    if first_process():
        if weights is not None:
            net = build(load_lm(base)[0], tokenizer, spec)
            net.load_state_dict(weights)
        save(net, tokenizer, spec, out)
        shutil.rmtree(scratch)
    if processes() > 1:
        torch.distributed.barrier()
    epochs, losses = epochs_of(state)
    best = min(range(len(epochs)), key=lambda index: epochs[index].held_out_loss or 0.0)
    labels = [target for item in training for target in item.targets if target is not None]
    counts = Counter(labels)
    return TrainResult(
        path=out,
        epochs=epochs,
        losses=losses,
        kept=best + 1 if settings.patience else len(epochs),
        trained=len(training),
        held_out=len(held_out),
        dropped=len(examples) - len(items),
        labels=len(labels),
        mean_label=sum(labels) / len(labels),
        balance=dict(sorted(counts.items())) if len(counts) <= 3 else None,
        tokens=sum(len(item.encoded.ids_T) for item in training),
        seconds=time.perf_counter() - begin,
    )


def _spec(kind: Kind, lm: PreTrainedModel, settings: Train) -> Spec:
    config = lm.config.get_text_config()
    limit = settings.max_tokens or getattr(config, "max_position_embeddings", None)
    if limit is None:
        raise InputError("the base model does not say how many positions it has", remedy="set max_tokens")
    return Spec(
        kind=kind,
        head=settings.head,
        layout=Layout(max_tokens=limit, marker=settings.marker),
        plus=settings.plus,
        minus=settings.minus,
        aggregate=settings.aggregate if kind == "prm" else "last",
        label_source=settings.label_source,
        stepmark=__version__,
        training=asdict(settings),
        classes=settings.classes,
        zero=settings.zero,
        neutral="right" if settings.neutral == "right" else "wrong",
    )
