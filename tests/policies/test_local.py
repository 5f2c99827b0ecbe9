import asyncio
import string

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from stepmark.errors import BackendError, InputError
from stepmark.policies.local import LocalPolicy
from stepmark.types import Completion, Cost, Prefix, Problem, Sampling

PROBLEM = Problem("p", "2+3?", "5", "test")
EMPTY = Prefix(PROBLEM)
ALPHABET = ["<|pad|>", "<|bos|>", "<|eos|>", "\n", *string.digits, *"+-*=?:. ", *string.ascii_letters]


def character_tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(ALPHABET)}))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|pad|>", bos_token="<|bos|>", eos_token="<|eos|>"
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A random model whose newline and end tokens are likely, so that solutions have steps and an end."""
    torch.manual_seed(0)
    config = LlamaConfig(
        **{"vocab_size": len(ALPHABET), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 96, "initializer_range": 0.4},
        **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
    )
    path = tmp_path_factory.mktemp("policy")
    LlamaForCausalLM(config).save_pretrained(path)
    character_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def policy(directory):
    return LocalPolicy.load(directory)


def draw(policy: LocalPolicy, n: int, sampling: Sampling, prefix: Prefix = EMPTY) -> list[Completion]:
    return asyncio.run(policy.sample(prefix, n, sampling))


def test_prompt_is_begin_token_and_question_line(policy):
    ids = policy.encode(Prefix(PROBLEM))
    assert ids == [1, *(ALPHABET.index(c) for c in "2+3?\n")]


def test_ids_that_the_policy_wrote_are_used_as_they_are(policy):
    prompt = policy.encode(Prefix(PROBLEM))
    assert policy.encode(Prefix(PROBLEM, ("abc",), (9, 9, 3))) == [*prompt, 9, 9, 3]


@pytest.mark.parametrize("ids", [None, ()])
def test_steps_that_came_as_text_are_encoded_one_by_one(policy, ids):
    prompt = policy.encode(Prefix(PROBLEM))
    assert policy.encode(Prefix(PROBLEM, ("ab", "c"), ids)) == [*prompt, *(ALPHABET.index(c) for c in "ab\nc\n")]


def test_samples_can_be_drawn_from_any_index_on(policy):
    """Sample i depends on (seed, i) alone; in float32 its company changes nothing."""
    late = draw(policy, 4, Sampling(seed=3, max_tokens=12, first=4))
    assert [one.token_ids for one in late] == [
        one.token_ids for one in draw(policy, 8, Sampling(seed=3, max_tokens=12))[4:]
    ]
    assert sum(one.cost.requests for one in late) == 1


def test_a_solution_drawn_step_by_step_is_the_solution_drawn_at_once(policy):
    """Randomness is a function of (seed, index, position): where the drawing pauses changes nothing."""
    at_once = draw(policy, 4, Sampling(seed=5, max_tokens=60))
    assert any(len(c.steps) > 1 for c in at_once)
    prefix, ids = Prefix(PROBLEM), ()
    while True:
        left = 60 - len(ids)
        step = draw(policy, 1, Sampling(seed=5, max_tokens=left, stop="step"), prefix)[0]
        ids += step.token_ids
        if step.finish != "step" or len(ids) == 60:
            break
        assert step.token_ids[-1] == ALPHABET.index("\n")
        assert len(step.steps) == 1
        prefix = Prefix(PROBLEM, prefix.steps + step.steps, ids)
    assert ids == at_once[0].token_ids


def test_finish_is_stop_at_the_end_token_and_length_at_a_limit(policy):
    samples = draw(policy, 32, Sampling(max_tokens=40))
    assert {c.finish for c in samples} == {"stop", "length"}
    for c in samples:
        assert (c.token_ids[-1] == 2) == (c.finish == "stop")
        assert len(c.token_ids) == 40 or c.finish == "stop"


def test_a_solution_cut_by_the_context_is_not_finished(policy):
    samples = draw(policy, 64, Sampling(max_tokens=500))
    cut = [c for c in samples if c.finish == "length"]
    assert all(len(c.token_ids) == 96 - 6 for c in cut)
    assert all(len(c.logprobs) == len(c.token_ids) for c in samples)


def test_costs_of_a_call_are_exact(directory):
    samples = draw(LocalPolicy.load(directory), 8, Sampling(max_tokens=10))
    tokens = sum(len(c.token_ids) for c in samples)
    assert Cost.total(c.cost for c in samples) == Cost(prompt=6, cached=7 * 6, generated=tokens, requests=1)


def test_a_finished_solution_cannot_be_continued(policy):
    with pytest.raises(InputError, match="has ended"):
        draw(policy, 1, Sampling(), Prefix(PROBLEM, ("a",), (5, 2)))


def test_closed_policy_refuses(directory):
    policy = LocalPolicy.load(directory)
    policy.close()
    with pytest.raises(BackendError, match="closed"):
        draw(policy, 1, Sampling())


def test_a_directory_without_tokenizer_or_model_is_refused(directory, tmp_path):
    with pytest.raises(InputError, match="no such model directory"):
        LocalPolicy.load(tmp_path / "nothing")
    LlamaForCausalLM.from_pretrained(directory).save_pretrained(tmp_path / "bare")
    with pytest.raises(InputError, match="tokenizer"):
        LocalPolicy.load(tmp_path / "bare")
    character_tokenizer().save_pretrained(tmp_path / "only")
    with pytest.raises(InputError, match="language model"):
        LocalPolicy.load(tmp_path / "only")


def test_an_architecture_that_the_engine_does_not_know_is_named(tmp_path):
    config = GPTNeoXConfig(
        **{"vocab_size": len(ALPHABET), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1},
        **{"num_attention_heads": 4},
    )
    GPTNeoXForCausalLM(config).save_pretrained(tmp_path)
    character_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="gpt_neox"):
        LocalPolicy.load(tmp_path)
