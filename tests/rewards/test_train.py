import asyncio
import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from stepmark.errors import InputError, TooLongError
from stepmark.rewards.dataset import encode, split
from stepmark.rewards.examples import Encoder, Example, Kind, Layout, parts, token_labels
from stepmark.rewards.local import LocalReward
from stepmark.rewards.model import Likelihood, Spec, build, load_lm
from stepmark.rewards.settings import Head, Train
from stepmark.rewards.train import train
from stepmark.types import Prefix
from tests.rewards.toy import problem, separable

EXAMPLES = separable(problems=24, per_problem=12)
FAST = Train(marker="<|judge|>", epochs=6, learning_rate=5e-3, batch_size=16, held_out=0.25)


def scores(path: Path, steps: tuple[str, ...], number: int = 0) -> tuple[float, ...]:
    return asyncio.run(LocalReward.load(path).score(Prefix(problem(number), steps))).scores


@pytest.mark.parametrize("head", ["label_tokens", "linear", "likelihood"])
@pytest.mark.parametrize("marker", ["<|judge|>", None])
def test_the_position_that_is_trained_is_the_position_that_is_scored(
    base: Path, tokenizer: PreTrainedTokenizerBase, head: Head, marker: str | None
) -> None:
    """A causal model's output at token t depends on the tokens up to t and on no later one. So the last token to whose
    embedding the loss of step s has a gradient is the token that is trained; the last one whose change moves the score
    of step s is the token that is scored. Both must be the token after the step."""
    lm, _ = load_lm(base)
    encoder = Encoder(tokenizer, Layout(100, marker=marker))
    net = build(lm, tokenizer, Spec("prm", head, Layout(100), " +", " -", "product", "oracle", "0", {"seed": 0}))
    if isinstance(net.head, Likelihood):
        torch.nn.init.normal_(net.head.linear.weight)  # from 0 on the surprise alone decides, at tokens of its choice
    net.eval()
    encoded = encoder.encode(problem(), ("good 1", "so 2 3", "bad"))
    ids_1_T = torch.tensor([encoded.ids_T])
    embedded: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    hook = lm.get_input_embeddings().register_forward_hook(keep)
    trained = []
    for step in range(3):
        targets = tuple(1.0 if s == step else None for s in range(3))
        labels_1_T, parts_1_T = torch.tensor([token_labels(encoded, targets)]), torch.tensor([parts(encoded, "prm")])
        net(ids_1_T, labels_1_T, parts_1_T)["loss"].backward()
        reached = embedded[-1].grad.abs().sum(-1)[0].nonzero()
        trained.append(int(reached.max()))
    hook.remove()

    before = net.score(net.read([encoded])[0]).tolist()
    scored = [0, 0, 0]
    for position in range(len(encoded.ids_T)):
        changed = list(encoded.ids_T)
        changed[position] = 4
        after = net.score(net.read([dataclasses.replace(encoded, ids_T=tuple(changed))])[0]).tolist()
        for step in range(3):
            if after[step] != before[step]:
                scored[step] = position
    ends = [len(encoder.encode(problem(), ("good 1", "so 2 3", "bad")[: n + 1]).ids_T) - 1 for n in range(3)]
    assert trained == scored == ends


@pytest.mark.parametrize("head", ["label_tokens", "linear", "likelihood"])
def test_training_a_step_moves_its_own_score(base: Path, tmp_path: Path, head: Head) -> None:
    """One solution learnt by heart: alternating targets come out at their own steps; off by one, they would not."""
    steps = ("so 1", "so 2", "so 3", "so 4")
    targets = (1.0, 0.0, 1.0, 0.0)
    settings = Train(head=head, marker="<|judge|>", past_first_error=True, epochs=80, learning_rate=1e-2, held_out=0)
    train("prm", [Example(problem(), steps, targets)], base, tmp_path / "out", settings)
    assert scores(tmp_path / "out", steps) == pytest.approx(targets, abs=0.05)


@pytest.mark.parametrize("head", ["label_tokens", "linear", "likelihood"])
@pytest.mark.parametrize("kind", ["prm", "orm"])
def test_what_can_be_learnt_is_learnt(base: Path, tmp_path: Path, kind: Kind, head: Head) -> None:
    """On problems that were not trained, the PRM knows the bad step and the ORM the solution that has one."""
    out = tmp_path / "out"
    result = train(kind, EXAMPLES, base, out, dataclasses.replace(FAST, head=head))
    assert (result.trained, result.held_out, result.dropped) == (18 * 12, 6 * 12, 0)
    last = result.epochs[-1]
    assert last.held_out_loss is not None
    assert last.within_problem_auc is not None
    assert last.within_problem_auc > 0.98
    assert last.held_out_loss < 0.2
    assert last.train_loss < result.epochs[0].train_loss
    asked = 29  # a question that no example has
    right = scores(out, ("good 1", "good 2", "good 3"), asked)
    wrong = scores(out, ("good 1", "bad 2", "good 3"), asked)
    if kind == "prm":  # after its first error a solution was not trained
        assert [score > 0.5 for score in right] == [True, True, True]
        assert [score > 0.5 for score in wrong[:2]] == [True, False]
    else:  # the last score is the solution's
        assert right[-1] > 0.5 > wrong[-1]


def test_soft_targets_are_learnt_as_probabilities(base: Path, tmp_path: Path) -> None:
    """The best constant under cross-entropy is the target itself, so floats cut to 0 and 1 would show."""
    examples = [Example(problem(n), (f"so {n % 30}",), (0.25,)) for n in range(64)]
    train("prm", examples, base, tmp_path / "out", dataclasses.replace(FAST, batch_size=8, held_out=0))
    assert scores(tmp_path / "out", ("so 3",)) == pytest.approx((0.25,), abs=0.03)


def test_the_same_seed_gives_the_same_weights(base: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(FAST, head="linear", epochs=1)
    results = [train("prm", EXAMPLES, base, tmp_path / name, settings) for name in ("a", "b")]
    other = train("prm", EXAMPLES, base, tmp_path / "c", dataclasses.replace(settings, seed=1))
    for file in ("model.safetensors", "head.safetensors"):
        a, b = (load_file(tmp_path / name / file) for name in ("a", "b"))
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert results[0].epochs == results[1].epochs != other.epochs


@pytest.mark.parametrize("seed", range(5))
def test_a_held_out_problem_shares_nothing_with_training(tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
    """A solution of a trained problem tells how hard the problem is: held-out figures would be flattered."""
    settings = dataclasses.replace(FAST, seed=seed)
    items = encode("prm", EXAMPLES, Encoder(tokenizer, Layout(100)), settings)
    training, held_out = split(items, settings)
    assert {item.problem_id for item in training}.isdisjoint(item.problem_id for item in held_out)
    assert len(training) + len(held_out) == len(EXAMPLES)
    assert len({item.problem_id for item in held_out}) == 6


def test_a_solution_that_is_too_long_stops_the_training_or_is_counted(base: Path, tmp_path: Path) -> None:
    """Cut, it would lose its last steps, which decide."""
    long = Example(problem(0), ("good 1",) * 40, (1.0,) * 40, 1.0)
    settings = dataclasses.replace(FAST, epochs=1)
    with pytest.raises(TooLongError, match="128 are the limit"):
        train("prm", [*EXAMPLES, long], base, tmp_path / "out", settings)
    assert list(tmp_path.iterdir()) == []
    result = train("prm", [*EXAMPLES, long], base, tmp_path / "out", dataclasses.replace(settings, too_long="drop"))
    assert result.dropped == 1
    assert result.trained + result.held_out == len(EXAMPLES)


def test_what_was_trained_is_reported(base: Path, tmp_path: Path) -> None:
    """Class balance is stated, not changed; an epoch without held-out problems has no held-out figures."""
    examples = [
        Example(problem(0), ("good 1", "bad 2", "good 3"), (1.0, 0.0, 1.0), 0.0),
        Example(problem(1), ("good 1",), (1.0,), 1.0),
    ]
    result = train("prm", examples, base, tmp_path / "prm", dataclasses.replace(FAST, epochs=1, held_out=0))
    assert (result.labels, result.mean_label, result.balance) == (3, 2 / 3, {0.0: 1, 1.0: 2})
    assert (result.epochs[0].held_out_loss, result.epochs[0].auc) == (None, None)
    result = train("orm", examples, base, tmp_path / "orm", dataclasses.replace(FAST, epochs=1, held_out=0))
    assert (result.labels, result.mean_label) == (2, 1 / 2)


@pytest.mark.parametrize(
    ("settings", "examples", "message"),
    [
        (FAST, [], "nothing is left to train on"),
        (dataclasses.replace(FAST, held_out=0), [], "nothing is left to train on"),
        (FAST, EXAMPLES[:12], "nothing is left to train on"),
        (dataclasses.replace(FAST, marker="<|none|>"), EXAMPLES, "not one token"),
        (dataclasses.replace(FAST, plus="yes"), EXAMPLES, "not one token"),
        (dataclasses.replace(FAST, max_tokens=4096), EXAMPLES, "128 positions"),
        (dataclasses.replace(FAST, epochs=0), EXAMPLES, "epochs"),
        (dataclasses.replace(FAST, held_out=1.0), EXAMPLES, "held_out"),
        (FAST, [*EXAMPLES, Example(problem(), ("good",), (-1.0,))], "from_signed"),
    ],
)
def test_bad_input_stops_before_training_and_writes_nothing(
    base: Path, tmp_path: Path, settings: Train, examples: list[Example], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train("prm", examples, base, tmp_path / "out", settings)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_only_the_model_is_written(base: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(FAST, epochs=1)
    train("prm", EXAMPLES, base, tmp_path / "out", settings)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "reward.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    with pytest.raises(InputError, match="exists already"):
        train("prm", EXAMPLES, base, tmp_path / "out", settings)
