"""How training goes: its losses, its parts, its interruptions."""

import asyncio
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from stepmark.errors import InputError
from stepmark.rewards.epochs import HeldOut
from stepmark.rewards.examples import IGNORED, Encoder, Example, Layout, parts, token_labels
from stepmark.rewards.local import LocalReward
from stepmark.rewards.model import LabelTokens, Likelihood, RewardNet, load_lm, new_head, probability
from stepmark.rewards.settings import Train
from stepmark.rewards.train import train
from stepmark.types import Prefix
from tests.rewards.toy import problem, separable

GOLDEN = Path(__file__).parents[1] / "golden" / "train_prm.json"
EXAMPLES = separable(problems=16, per_problem=8)
SMALL = Train(marker="<|judge|>", epochs=3, learning_rate=5e-3, batch_size=16, held_out=0.25)


def scores(path: Path, steps: tuple[str, ...], number: int = 0) -> tuple[float, ...]:
    return asyncio.run(LocalReward.load(path).score(Prefix(problem(number), steps))).scores


def weights(path: Path) -> dict[str, torch.Tensor]:
    return {name: value for file in sorted(path.glob("*.safetensors")) for name, value in load_file(file).items()}


def test_the_loss_curve_is_the_golden_one(base: Path, tmp_path: Path) -> None:
    """A change of the data's order, of targets, positions, schedule or loss moves it; rounding does not.
    Written by this test when the file is not there."""
    result = train("prm", EXAMPLES, base, tmp_path / "out", SMALL)
    found = {"losses": result.losses, "held_out": [epoch.held_out_loss for epoch in result.epochs]}
    if not GOLDEN.exists():
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert list(result.losses) == pytest.approx(golden["losses"], rel=1e-3)
    assert found["held_out"] == pytest.approx(golden["held_out"], rel=1e-3)


def test_a_batch_in_parts_is_the_same_batch(base: Path, tmp_path: Path) -> None:
    """Though its parts have different numbers of labels: means of means would weigh some labels more."""
    whole = train("prm", EXAMPLES, base, tmp_path / "whole", SMALL)
    parts = train("prm", EXAMPLES, base, tmp_path / "parts", dataclasses.replace(SMALL, accumulate=4))
    assert parts.losses == pytest.approx(whole.losses, rel=1e-3)


def test_checkpointing_computes_the_same(base: Path, tmp_path: Path) -> None:
    once = dataclasses.replace(SMALL, epochs=1)
    plain = train("prm", EXAMPLES, base, tmp_path / "plain", once)
    saving = train("prm", EXAMPLES, base, tmp_path / "saving", dataclasses.replace(once, checkpointing=True))
    assert saving.losses == pytest.approx(plain.losses, rel=1e-4)


def test_products_in_bfloat16_learn_the_same_and_leave_weights_in_float32(base: Path, tmp_path: Path) -> None:
    whole = train("prm", EXAMPLES, base, tmp_path / "whole", SMALL)
    half = train("prm", EXAMPLES, base, tmp_path / "half", dataclasses.replace(SMALL, bf16=True))
    assert half.losses[:3] == pytest.approx(whole.losses[:3], rel=0.01)
    assert half.losses != whole.losses
    assert {value.dtype for value in weights(tmp_path / "half").values()} == {torch.float32}


def rated(number: int) -> Example:
    """Steps that are good, neutral (`so`) or bad by their first word."""
    words = {1: "good", 0: "so", -1: "bad"}
    ratings = [(1, 0, -1), (0, 1, -1), (1, 1, 0), (0, 0, 1)][number % 4]
    return Example(problem(number), tuple(f"{words[one]} {number % 30}" for one in ratings), ratings)


@pytest.mark.parametrize("head", ["linear", "two_layer", "label_tokens"])
@pytest.mark.parametrize("neutral", ["right", "wrong"])
def test_three_classes_are_told_apart_and_neutral_counts_as_told(
    base: Path, tmp_path: Path, head: str, neutral: str
) -> None:
    """The score is P(good) + P(neutral), or P(good) alone."""
    settings = dataclasses.replace(
        SMALL, head=head, classes=3, neutral=neutral, epochs=8, zero=" 7" if head == "label_tokens" else None
    )
    train("prm", [rated(n) for n in range(48)], base, tmp_path / "out", settings)
    found = scores(tmp_path / "out", ("so 3", "good 3", "bad 3"), 3)
    assert [score > 0.5 for score in found] == [neutral == "right", True, False]


def test_the_loss_of_three_classes_is_the_cross_entropy_of_the_vocabulary_restricted_to_them(
    base: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    lm, _ = load_lm(base)
    labels = [tokenizer.convert_tokens_to_ids(word) for word in (" +", " 7", " -")]
    net = RewardNet(lm, LabelTokens(lm, tuple(labels)), probability).eval()
    encoded = Encoder(tokenizer, Layout(100)).encode(problem(), ("good 1", "so 2", "bad"))
    ids = torch.tensor([encoded.ids_T])
    loss = net(ids, torch.tensor([token_labels(encoded, (1, 0, -1))]), torch.tensor([parts(encoded, "prm")]))["loss"]
    said = AutoModelForCausalLM.from_pretrained(base)(ids).logits[0, list(encoded.judged_S)][:, labels]
    assert loss.item() == pytest.approx(cross_entropy(said, torch.tensor([0, 1, 2])).item(), abs=1e-5)


def test_squared_error_is_learnt_to_the_mean_of_its_targets(base: Path, tmp_path: Path) -> None:
    """And its loss is that of the score, whose least value over targets 0 and 1/2 is their variance, 1/16."""
    examples = [Example(problem(), ("so 3",), (0.5 * (n % 2),)) for n in range(64)]
    settings = Train(loss="squared_error", head="two_layer", epochs=6, learning_rate=5e-3, batch_size=8, held_out=0)
    settings = dataclasses.replace(settings, past_first_error=True)
    result = train("prm", examples, base, tmp_path / "o", settings)
    assert scores(tmp_path / "o", ("so 3",))[0] == pytest.approx(0.25, abs=0.05)
    assert result.losses[-1] == pytest.approx(1 / 16, abs=0.02)


@pytest.mark.parametrize("likelihood", [False, True])
def test_an_alternative_is_judged_as_it_is_within_its_solution(
    base: Path, tokenizer: PreTrainedTokenizerBase, likelihood: bool
) -> None:
    """One sequence per solution or one per rated prefix: the same losses, for what is rated is in no sequence."""
    lm, _ = load_lm(base)
    net = RewardNet(lm, Likelihood(lm) if likelihood else new_head(32, 1, "linear", 0), probability).eval()
    encoder = Encoder(tokenizer, Layout(100))
    steps, targets = ("good 1", "so 2 3", "bad"), (1.0, 0.5, 0.0)

    def loss(steps: tuple[str, ...], targets: Sequence[float | None]) -> float:
        encoded = encoder.encode(problem(), steps)
        with torch.no_grad():
            rows = (encoded.ids_T, token_labels(encoded, targets), parts(encoded, "prm"))
            return net(*(torch.tensor([row]) for row in rows))["loss"].item()

    alone = [loss(steps[: n + 1], [None] * n + [targets[n]]) for n in range(3)]
    assert loss(steps, targets) == pytest.approx(sum(alone) / 3, abs=1e-6)


def test_an_unlabelled_token_has_no_gradient(base: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Loss only where labelled: what the model says elsewhere may change without changing it."""
    net = RewardNet(load_lm(base)[0], new_head(32, 1, "linear", 0), probability)
    seen = []
    net.head.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    encoded = Encoder(tokenizer, Layout(100)).encode(problem(), ("good 1", "so 2", "bad"))
    labels = token_labels(encoded, (None, 0.5, None))
    assert sum(label != IGNORED for label in labels) == 1
    net(*(torch.tensor([row]) for row in (encoded.ids_T, labels, parts(encoded, "prm"))))["loss"].backward()
    assert seen == [1]


def test_training_stops_when_it_no_longer_gains_and_keeps_the_best(base: Path, tmp_path: Path) -> None:
    """Random targets cannot be learnt beyond their mean: a training that learns them by heart gets worse elsewhere."""
    noise = [
        dataclasses.replace(one, targets=tuple(float((i * 7 + s) % 3 > 0) for s in range(len(one.steps))))
        for i, one in enumerate(EXAMPLES)
    ]
    settings = dataclasses.replace(SMALL, past_first_error=True, epochs=30, patience=2)
    result = train("prm", noise, base, tmp_path / "out", settings)
    losses = [epoch.held_out_loss for epoch in result.epochs]
    assert len(losses) < 30
    assert result.kept == losses.index(min(losses)) + 1 == len(losses) - 2


def test_lora_trains_little_and_is_merged(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    settings = dataclasses.replace(SMALL, lora=4, head="linear", epochs=8, learning_rate=2e-2)
    result = train("prm", EXAMPLES, base, tmp_path / "out", settings)
    assert result.epochs[-1].auc is not None
    assert result.epochs[-1].auc > 0.9
    before, after = weights(base), weights(tmp_path / "out")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("_proj" in name for name in changed)
    assert set(after) - set(before) == {"weight", "bias"}  # the head; no adapter is left


def test_what_is_measured_is_what_the_model_says(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[list[HeldOut]] = []

    def measure(held_out: Sequence[HeldOut]) -> dict[str, float | None]:
        seen.append(list(held_out))
        return {"solutions": float(len(held_out))}

    result = train("prm", EXAMPLES, base, tmp_path / "out", SMALL, measure=measure)
    assert [epoch.figures for epoch in result.epochs] == [{"solutions": float(result.held_out)}] * 3
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 3
    assert f"held-out loss {result.epochs[2].held_out_loss:.4f}" in lines[2]
    known = {one.problem_id for one in seen[-1]}
    prefixes = [Prefix(one.problem, one.steps) for one in EXAMPLES if one.problem.id in known]

    async def again() -> list[tuple[float, ...]]:
        reward = LocalReward.load(tmp_path / "out")
        return [one.scores for one in await asyncio.gather(*map(reward.score, prefixes))]

    for one, other in zip(sorted(asyncio.run(again())), sorted(held.scores for held in seen[-1]), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


SCRIPT = """
import sys
from stepmark.rewards.train import train
from tests.rewards.test_training import EXAMPLES, KILLED
train("prm", EXAMPLES, sys.argv[1], sys.argv[2], KILLED)
"""
KILLED = dataclasses.replace(SMALL, head="linear", epochs=6, checkpoint_every=2)


def test_a_killed_training_goes_on_to_the_same_losses_and_weights(base: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of an epoch, after some checkpoint; what was lost since is computed again."""
    whole = train("prm", EXAMPLES, base, tmp_path / "whole", KILLED)
    out = tmp_path / "killed"
    scratch = tmp_path / "killed.training"
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(base), str(out)], env=environment)
    while not any(int(path.name.split("-")[1]) > 6 for path in scratch.glob("checkpoint-*")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    with pytest.raises(InputError, match="unfinished training of other"):
        train("prm", EXAMPLES, base, out, dataclasses.replace(KILLED, seed=1))
    resumed = train("prm", EXAMPLES, base, out, KILLED)
    assert resumed.losses == whole.losses
    assert resumed.epochs == whole.epochs
    assert all(torch.equal(value, weights(out)[name]) for name, value in weights(tmp_path / "whole").items())
    assert not scratch.exists()


def start_together(script: str, folder: Path, *words: object, **environment: str) -> list[subprocess.Popen[str]]:
    """Two processes of one script that know of each other, as launchers start them."""
    (folder / "script.py").write_text(script)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    known = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    known |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return [
        subprocess.Popen(
            [sys.executable, str(folder / "script.py"), *map(str, words)],
            env={**os.environ, **known, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]


def together(*given: Any, **environment: str) -> None:
    for process in start_together(*given, **environment):
        said = process.communicate()[1]
        assert process.returncode == 0, said[-4000:]


TOGETHER = dataclasses.replace(SMALL, head="linear", epochs=2, batch_size=8)
TOGETHER_SCRIPT = """
import json, os, sys
from pathlib import Path
from stepmark.rewards.train import train
from tests.rewards.test_training import EXAMPLES, TOGETHER
result = train("prm", EXAMPLES, sys.argv[1], sys.argv[2], TOGETHER)
Path(sys.argv[2] + os.environ["RANK"]).write_text(json.dumps(result.losses))
"""


def test_processes_that_train_together_reach_what_one_reaches_alone(base: Path, tmp_path: Path) -> None:
    """Each has its part of every batch, and the parts have different numbers of labels; the first one writes."""
    alone = train("prm", EXAMPLES, base, tmp_path / "alone", TOGETHER)
    assert alone.trained % TOGETHER.batch_size == 0  # else the last batch would be filled up
    out = tmp_path / "out"
    together(TOGETHER_SCRIPT, tmp_path, base, out)
    for rank in range(2):
        assert json.loads(Path(f"{out}{rank}").read_text()) == pytest.approx(alone.losses, rel=1e-4)
    for name, value in weights(tmp_path / "alone").items():
        torch.testing.assert_close(weights(out)[name], value, rtol=1e-3, atol=1e-4)


SPREAD = dataclasses.replace(SMALL, head="likelihood", marker=None, epochs=3, batch_size=8, checkpoint_every=5)
SPREAD_SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

def spreads_on_a_cpu(state, *args, **kwargs):
    begin(state, *args, **kwargs)
    if state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU  # accelerate has FSDP for GPUs alone, torch for CPUs too

begin, PartialState.__init__ = PartialState.__init__, spreads_on_a_cpu
from stepmark.rewards import fit
from stepmark.rewards.train import train
from tests.rewards.test_training import EXAMPLES, SPREAD

measured, parts = fit.measured, []

def seen(net, *args):
    parts.append(sum(weight.to_local().numel() for weight in net.parameters() if isinstance(weight, DTensor)))
    if sys.argv[3:] and len(parts) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return measured(net, *args)

fit.measured = seen
losses = train("prm", EXAMPLES, sys.argv[1], sys.argv[2], SPREAD).losses
Path(sys.argv[2] + os.environ["RANK"]).write_text(json.dumps([losses, parts]))
"""


def test_a_model_spread_over_processes_learns_the_same_killed_or_not(base: Path, tmp_path: Path) -> None:
    """FSDP as accelerate's config asks for it: each keeps its part of every weight, and the whole ones are written."""
    alone = train("prm", EXAMPLES, base, tmp_path / "alone", SPREAD)
    out = tmp_path / "out"
    config = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}
    for process in start_together(SPREAD_SCRIPT, tmp_path, base, out, "killed", **config):
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    together(SPREAD_SCRIPT, tmp_path, base, out, **config)
    whole = sum(value.numel() for value in load_lm(base)[0].parameters()) + 32 + 1 + 1
    told = [json.loads(Path(f"{out}{rank}").read_text()) for rank in range(2)]
    for losses, _ in told:
        assert losses == pytest.approx(alone.losses, rel=1e-4)
    assert [sum(parts) for parts in zip(*(parts for _, parts in told), strict=True)] == [whole] * 2
    for name, value in weights(tmp_path / "alone").items():
        torch.testing.assert_close(weights(out)[name], value, rtol=1e-3, atol=1e-4)


def test_a_model_that_accelerate_would_not_spread_is_not_trained_as_if_it_did(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="over several GPUs alone"):
        train("prm", EXAMPLES, base, tmp_path / "out", SMALL)
    with pytest.raises(InputError, match="taken up again whole"):
        train("prm", EXAMPLES, base, tmp_path / "out", dataclasses.replace(SMALL, patience=1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dataclasses.replace(SMALL, accumulate=3), "equal parts"),
        (dataclasses.replace(SMALL, patience=1, held_out=0), "held-out loss"),
        (dataclasses.replace(SMALL, patience=1, checkpoint_every=5), "held-out loss"),
        (dataclasses.replace(SMALL, classes=3, head="likelihood"), "the head likelihood has two classes"),
        (dataclasses.replace(SMALL, lora=2, head="likelihood"), "the head likelihood has two classes"),
        (dataclasses.replace(SMALL, classes=3, loss="squared_error"), "three classes"),
        (dataclasses.replace(SMALL, classes=3, neutral="unrated"), "three classes"),
        (dataclasses.replace(SMALL, classes=3), "2 label tokens for 3 classes"),
        (dataclasses.replace(SMALL, zero=" 7"), "3 label tokens for 2 classes"),
        (dataclasses.replace(SMALL, classes=3, head="linear"), None),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    base: Path, tmp_path: Path, settings: Train, message: str | None
) -> None:
    examples = [Example(one.problem, one.steps, tuple(0.5 for _ in one.steps)) for one in EXAMPLES]
    with pytest.raises(InputError, match=message or "not \\+1, 0 or -1"):
        train("prm", examples, base, tmp_path / "out", settings)
    assert list(tmp_path.iterdir()) == []
