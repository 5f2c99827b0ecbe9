import asyncio
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedTokenizerBase

from stepmark import steps as text
from stepmark.errors import BackendError, InputError, ScoreError, TooLongError
from stepmark.rewards.examples import Encoder, Layout
from stepmark.rewards.local import LocalReward
from stepmark.rewards.model import HEAD_FILE, Spec, build, load, load_lm, save
from stepmark.rewards.settings import Head
from stepmark.types import Cost, Prefix, StepScores
from tests.rewards.toy import problem, separable

STEPS = ("good 1", "so 2 3", "bad 4", "good")
PREFIXES = [Prefix(e.problem, e.steps) for e in separable(problems=20, per_problem=4)]


@pytest.fixture(params=["label_tokens", "linear", "likelihood"])
def head(request: pytest.FixtureRequest) -> Head:
    return request.param


@pytest.fixture
def saved(base: Path, tmp_path: Path, head: Head) -> Path:
    """A reward model of random weights, larger than usual, so that its scores depend on every token before."""
    lm, tokenizer = load_lm(base)
    with torch.no_grad():
        for name, weight in lm.model.layers.named_parameters():
            if "proj" in name:
                weight.mul_(10.0)
        lm.model.norm.weight.mul_(4.0)
    layout = Layout(max_tokens=100, marker="<|judge|>")
    spec = Spec("prm", head, layout, " +", " -", "product", "oracle", "0", {"seed": 1})
    save(build(lm, tokenizer, spec), tokenizer, spec, tmp_path / "reward")
    return tmp_path / "reward"


def score(path: Path, *prefixes: Prefix, **settings: object) -> list[StepScores]:
    async def together() -> list[StepScores]:
        reward = LocalReward.load(path, **settings)
        return await asyncio.gather(*(reward.score(prefix) for prefix in prefixes))

    return asyncio.run(together())


def test_a_score_is_what_the_model_says_at_the_marker(saved: Path, head: Head) -> None:
    """Against transformers alone, with the ids written out by hand: the full vocabulary's logits at the marker (not one
    token before), plus first; the least expected token of a step begins with what the token before the step expects."""
    model = AutoModelForCausalLM.from_pretrained(saved)
    tokens = json.loads((saved / "tokenizer.json").read_text())["model"]["vocab"]
    question = ["<|bos|>", "what", " is", " the", " sum", " 7", "?", "\n"]
    ids = [tokens[t] for t in [*question, "good", " 1", "\n", "<|judge|>", "bad", " 4", "\n", "<|judge|>"]]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
        if head == "label_tokens":
            expected = logits[[11, 15]][:, [tokens[" +"], tokens[" -"]]].softmax(-1)[:, 0].tolist()
        elif head == "likelihood":  # as it begins: the surprise alone, and a bias of 2
            margins = logits[range(15), ids[1:]] - logits[:-1].max(-1).values
            expected = torch.sigmoid(2 + torch.stack([margins[7:11].min(), margins[11:15].min()])).tolist()
        else:
            linear = load_file(saved / HEAD_FILE)
            hidden = AutoModel.from_pretrained(saved)(torch.tensor([ids])).last_hidden_state[0]
            expected = torch.sigmoid(hidden[[11, 15]] @ linear["weight"][0] + linear["bias"]).tolist()
    assert max(expected) - min(expected) > (0.0005 if head == "likelihood" else 0.01)
    (scored,) = score(saved, Prefix(problem(7), ("good 1", "bad 4")))
    assert scored.scores == pytest.approx(expected, abs=1e-5)


def test_scores_do_not_depend_on_the_company(saved: Path) -> None:
    """A causal model reads a solution and nothing else: one by one and all together agree to 1e-5."""
    alone = [score(saved, prefix)[0] for prefix in PREFIXES]
    for a, b in zip(alone, score(saved, *PREFIXES), strict=True):
        assert b.scores == pytest.approx(a.scores, abs=1e-5)
        assert a.cost.scored == b.cost.scored + b.cost.cached
    assert len({scored.scores for scored in alone}) > len(PREFIXES) / 2  # answers went to those who asked


def test_bfloat16_agrees_to_its_precision(saved: Path) -> None:
    """bfloat16 keeps 8 bits; logits here reach 10, and a sigmoid's slope is at most 1/4."""
    for a, b in zip(score(saved, *PREFIXES), score(saved, *PREFIXES, dtype="bfloat16"), strict=True):
        assert b.scores == pytest.approx(a.scores, abs=0.15)
        assert len(a.scores) == len(b.scores)


def test_a_trailing_separator_changes_nothing(saved: Path) -> None:
    solution = text.join(STEPS)
    plain, trailing = score(
        saved, Prefix(problem(), text.split(solution)), Prefix(problem(), text.split(solution + "\n\n"))
    )
    assert plain.scores == trailing.scores
    assert len(plain.scores) == len(STEPS)


def test_a_grown_solution_costs_its_new_step_and_scores_as_if_read_anew(
    saved: Path, tokenizer: PreTrainedTokenizerBase, head: Head
) -> None:
    """Incremental equals full: what is known is neither computed nor changed; but for what the last known token
    expects, where that matters."""
    encoder = Encoder(tokenizer, Layout(100, marker="<|judge|>"))
    lengths = [0, *(len(encoder.encode(problem(), STEPS[:n]).ids_T) for n in range(1, len(STEPS) + 1))]
    (whole,) = score(saved, Prefix(problem(), STEPS))

    async def grow() -> None:
        reward = LocalReward.load(saved)
        for count in range(1, len(STEPS) + 1):
            part = await reward.score(Prefix(problem(), STEPS[:count]))
            assert part.scores == pytest.approx(whole.scores[:count], abs=1e-5)
            again = int(head == "likelihood" and count > 1)
            assert part.cost.scored == lengths[count] - lengths[count - 1] + again
            assert part.cost.cached == lengths[count - 1] - again
        again = await reward.score(Prefix(problem(), STEPS))
        assert again.cost == Cost(cached=lengths[-1])
        assert again.scores == part.scores

    asyncio.run(grow())


def test_the_least_likely_token_of_an_orm_is_of_the_whole_solution_also_where_that_grew(
    base: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Against one forward pass over the whole, which takes a running minimum; a PRM's scores of the same are others."""
    lm, _ = load_lm(base)
    with torch.no_grad():
        for weight in lm.parameters():
            weight.mul_(3.0)  # or all tokens would be about as likely
    layout, found = Layout(max_tokens=100), {}
    encoded = Encoder(tokenizer, layout).encode(problem(), STEPS)
    for kind in ("orm", "prm"):
        spec = Spec(kind, "likelihood", layout, " +", " -", "last", "oracle", "0", {})
        save(build(lm, tokenizer, spec), tokenizer, spec, tmp_path / kind)

        async def grow(path: Path) -> StepScores:
            reward = LocalReward.load(path)
            await reward.score(Prefix(problem(), STEPS[:1]))
            await reward.score(Prefix(problem(), STEPS[:3]))
            return await reward.score(Prefix(problem(), STEPS))

        found[kind] = asyncio.run(grow(tmp_path / kind)).scores
        net = load(tmp_path / kind)[0]
        assert found[kind] == pytest.approx(net.score(net.read([encoded])[0]).tolist(), abs=1e-5)
    assert list(found["orm"]) == sorted(found["orm"], reverse=True) != list(found["prm"])


def test_what_solutions_share_is_read_once_though_they_are_scored_at_once(saved: Path) -> None:
    """Copies, and solutions that begin alike: each distinct step is computed by one of them, with the scores of one
    alone. The others have it from the cache, so the cost of all is that of the distinct tokens."""
    one, other = Prefix(problem(7), STEPS), Prefix(problem(7), (*STEPS[:2], "good 1", "bad 4"))
    alone, branch = score(saved, one)[0], score(saved, other)[0]
    together = score(saved, one, one, other, one, other)
    for found, wanted in zip(together, (alone, alone, branch, alone, branch), strict=True):
        assert found.scores == pytest.approx(wanted.scores, abs=1e-5)
    whole = alone.cost.scored
    assert [found.cost.scored for found in together[1::2]] == [0, 0]
    assert together[0].cost.scored == whole
    assert 0 < together[2].cost.scored < branch.cost.scored
    assert together[4].cost.scored == 0


def test_a_longer_solution_keeps_the_scores_of_its_first_steps(saved: Path) -> None:
    """A step is judged by what stands before it: a search may score a solution while it grows."""
    (whole,) = score(saved, Prefix(problem(), STEPS))
    for count in range(1, len(STEPS)):
        (part,) = score(saved, Prefix(problem(), STEPS[:count]))
        assert part.scores == pytest.approx(whole.scores[:count], abs=1e-5)


def test_the_cost_is_the_tokens_of_the_solution(saved: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Computed or known, without padding."""
    encoder = Encoder(tokenizer, Layout(100, marker="<|judge|>"))
    for prefix, scored in zip(PREFIXES, score(saved, *PREFIXES), strict=True):
        assert scored.cost.scored + scored.cost.cached == len(encoder.encode(prefix.problem, prefix.steps).ids_T)
        assert scored.cost.requests == 1


@pytest.mark.parametrize("head", ["linear"], indirect=True)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_score_that_underflows_to_zero_stays_at_its_step(saved: Path, dtype: str) -> None:
    """Trap: scores picked out by `!= 0` lose a step whose probability is 0, and shift the others."""
    weights = load_file(saved / HEAD_FILE)
    save_file({"weight": weights["weight"] * 1e4, "bias": weights["bias"]}, saved / HEAD_FILE)
    (scored,) = score(saved, Prefix(problem(), STEPS * 4), dtype=dtype)
    assert len(scored.scores) == 4 * len(STEPS)
    assert set(scored.scores) == {0.0, 1.0}


@pytest.mark.parametrize("head", ["linear"], indirect=True)
def test_the_linear_head_decides(saved: Path) -> None:
    """A head of the opposite sign gives the opposite scores: the saved head is the one that scores."""
    (before,) = score(saved, Prefix(problem(), STEPS))
    save_file({name: -value for name, value in load_file(saved / HEAD_FILE).items()}, saved / HEAD_FILE)
    (after,) = score(saved, Prefix(problem(), STEPS))
    assert after.scores == pytest.approx([1 - s for s in before.scores], abs=1e-6)


def test_broken_weights_raise_and_nothing_is_scored(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ScoreError, match="nan"):
        score(saved, Prefix(problem(), STEPS))


@pytest.mark.parametrize(
    ("steps", "error"),
    [((), InputError), (("good", ""), InputError), (("good 1",) * 60, TooLongError)],
    ids=["none", "blank", "long"],
)
def test_a_prefix_that_cannot_be_scored_fails_alone(
    saved: Path, steps: tuple[str, ...], error: type[Exception]
) -> None:
    async def together() -> list[StepScores | BaseException]:
        reward = LocalReward.load(saved)
        requests = (reward.score(Prefix(problem(), wanted)) for wanted in (STEPS, steps, STEPS))
        return await asyncio.gather(*requests, return_exceptions=True)

    before, failed, after = asyncio.run(together())
    assert isinstance(failed, error)
    assert before.scores == after.scores
    assert isinstance(before, StepScores)


def test_a_failure_reaches_everybody_who_waits(saved: Path) -> None:
    async def together() -> None:
        net, tokenizer, spec = load(saved)
        reward = LocalReward(net, Encoder(tokenizer, spec.layout), spec)
        reward.engine.decoder.forward = None
        failed = await asyncio.gather(*(reward.score(prefix) for prefix in PREFIXES), return_exceptions=True)
        assert all(isinstance(error, BackendError) for error in failed)

    asyncio.run(together())


def test_closing_answers_those_who_wait(saved: Path) -> None:
    async def together() -> None:
        reward = LocalReward.load(saved)
        requests = [asyncio.create_task(reward.score(prefix)) for prefix in PREFIXES]
        await asyncio.sleep(0)
        reward.close()
        answers = await asyncio.gather(*requests, return_exceptions=True)
        assert all(isinstance(answer, StepScores | BackendError) for answer in answers)
        with pytest.raises(BackendError, match="closed"):
            await reward.score(PREFIXES[0])

    asyncio.run(asyncio.wait_for(together(), 20))


def test_a_cancelled_request_does_not_disturb_the_others(saved: Path) -> None:
    async def together() -> None:
        reward = LocalReward.load(saved)
        requests = [asyncio.create_task(reward.score(prefix)) for prefix in PREFIXES]
        await asyncio.sleep(0)
        requests[3].cancel()
        answers = await asyncio.gather(*requests, return_exceptions=True)
        assert [i for i, answer in enumerate(answers) if not isinstance(answer, StepScores)] == [3]

    asyncio.run(asyncio.wait_for(together(), 20))


def test_one_model_serves_one_event_loop_after_another(saved: Path) -> None:
    """Also when the first loop was left in the middle of the work."""
    reward = LocalReward.load(saved)

    async def leave() -> None:
        for prefix in PREFIXES:
            task = asyncio.create_task(reward.score(prefix))
        await task

    async def gives_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(reward.score(prefix) for prefix in PREFIXES)), 0.001)

    asyncio.run(gives_up())
    asyncio.run(leave())
    assert len(asyncio.run(reward.score(PREFIXES[0])).scores) == len(PREFIXES[0].steps)
