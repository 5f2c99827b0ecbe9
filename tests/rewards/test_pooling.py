"""Scores through vLLM's pooling API are those of the same network in transformers."""

import asyncio
import json
import shutil

import httpx2
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoTokenizer, Qwen2Config, Qwen2Model

from stepmark.errors import BackendError
from stepmark.policies import bundled
from stepmark.policies.client import Client
from stepmark.problems import quantities
from stepmark.rewards.examples import Encoder, Layout
from stepmark.rewards.pooling import PoolingReward
from stepmark.types import Cost, Prefix
from tests.policies.servers import vllm_of

PROBLEMS = list(quantities.generate("test", 5, levels=(1, 3)))
PREFIXES = [Prefix(problem, tuple(quantities.solve(problem)), None) for problem in PROBLEMS]
ENCODER = Encoder(AutoTokenizer.from_pretrained(bundled.PATH), Layout(max_tokens=512, marker=bundled.MARKER))


def score(url, model, prefixes, transport=None):
    async def run():
        async with Client(url, transport=transport) as client:
            reward = PoolingReward(client, model, ENCODER.encode)
            return await asyncio.gather(*(reward.score(prefix) for prefix in prefixes))

    return asyncio.run(run())


class Server:
    """Gives each token the classes (1 - 1/its place, 1/its place); `change` edits the answer."""

    def __init__(self, change=lambda reply: reply):
        self.change = change

    def __call__(self, request):
        ids = json.loads(request.content)["input"]
        classes = [[1 - 1 / place, 1 / place] for place in range(1, len(ids) + 1)]
        reply = {"data": [{"index": 0, "data": classes}], "usage": {"prompt_tokens": len(ids)}}
        return httpx2.Response(200, json=self.change(reply))


def test_each_step_is_read_at_the_token_that_ends_it():
    for prefix, scored in zip(PREFIXES, score("http://s", "m", PREFIXES, httpx2.MockTransport(Server())), strict=True):
        encoded = ENCODER.encode(prefix.problem, prefix.steps)
        assert scored.scores == tuple(1 / (position + 1) for position in encoded.judged_S)
        assert scored.cost == Cost(scored=len(encoded.ids_T), requests=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda reply: {"data": [{"data": reply["data"][0]["data"][1:]}], "usage": reply["usage"]}, "must pool ALL"),
        (lambda reply: reply | {"data": []}, "classes of 0 tokens"),
        (lambda reply: {"data": reply["data"]}, "cannot be read.*usage"),
        (lambda reply: reply | {"data": [{"data": [0.5]}]}, "cannot be read"),
    ],
)
def test_an_answer_that_does_not_fit_the_tokens_is_an_error(change, words):
    with pytest.raises(BackendError, match=words):
        score("http://s", "m", PREFIXES[:1], httpx2.MockTransport(Server(change)))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A Qwen2ForProcessRewardModel of random weights with the bundled tokenizer: its directory, and the classes of each
    token as transformers computes them."""
    path = tmp_path_factory.mktemp("prm")
    torch.manual_seed(0)
    config = Qwen2Config(
        **{"vocab_size": 383, "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2},
        **{
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "initializer_range": 0.1,
        },
        **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False},
    )
    body = Qwen2Model(config).eval()
    head = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    weights = {f"model.{name}": value for name, value in body.state_dict().items()}
    weights |= {f"score.{name}": value for name, value in head.state_dict().items()}
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    config.architectures = ["Qwen2ForProcessRewardModel"]
    config.save_pretrained(path)
    for file in bundled.PATH.glob("tokenizer*"):
        shutil.copy(file, path)

    @torch.inference_mode()
    def classes(ids):
        return torch.softmax(head(body(torch.tensor([ids])).last_hidden_state[0]), dim=-1)

    return path, classes


@pytest.mark.timeout(600)
def test_vllm_scores_a_process_reward_model_as_transformers_does(model):
    path, classes = model
    with vllm_of(path, "--runner", "pooling", "--pooler-config", '{"tok_pooling_type": "ALL"}') as url:
        scored = score(url, str(path), PREFIXES)
    for prefix, one in zip(PREFIXES, scored, strict=True):
        encoded = ENCODER.encode(prefix.problem, prefix.steps)
        expected = classes(encoded.ids_T)[list(encoded.judged_S), 1].tolist()
        assert one.scores == pytest.approx(expected, abs=1e-5)
        assert one.cost == Cost(scored=len(encoded.ids_T), requests=1)
    assert len({round(score, 3) for one in scored for score in one.scores}) > 5  # not all alike
