"""Every family on a tiny model of its real architecture, against its authors' procedure written out on transformers."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaModel,
    MistralConfig,
    MistralForCausalLM,
    MistralModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForTokenClassification,
    Qwen2Model,
)

from stepmark import steps as text
from stepmark.rewards.families import FAMILIES, load
from stepmark.rewards.families.family import QWEN_SYSTEM
from stepmark.types import Prefix, Problem
from tests.rewards.families.published import layer, publish, tiny
from tests.rewards.families.tokenizers import llama3, mistral, qwen

QUESTION = "What is 2 + 3?"
STEPS = ("The sum is 2 + 3.", "That is 5.", "So the answer is 5")
PREFIX = Prefix(Problem("p", QUESTION, "5", "toy"), STEPS)


def scores(path: Path, *prefixes: Prefix, family: str | None = None, separator: str | None = None) -> list[list[float]]:
    """With white space after every step too, which changes nothing."""

    async def together() -> list[list[float]]:
        reward = load(path, family, separator=separator).reward
        asked = prefixes or (PREFIX,)
        trailing = [replace(one, steps=tuple(f"{step} \n" for step in one.steps)) for one in asked]
        found, again = [[(await reward.score(one)).scores for one in some] for some in (asked, trailing)]
        assert again == found
        return [list(one) for one in found]

    return asyncio.run(together())


@torch.no_grad()
def logits(path: Path, ids: list[int]) -> Tensor:
    return AutoModelForCausalLM.from_pretrained(path)(torch.tensor([ids])).logits[0]


@torch.no_grad()
def hidden(path: Path, ids: list[int]) -> Tensor:
    return AutoModel.from_pretrained(path)(torch.tensor([ids])).last_hidden_state[0]


def agree(found: list[float], expected: Tensor | list[float]) -> None:
    """To float32's rounding, with scores that differ enough for a shift to show."""
    values = torch.as_tensor(expected).tolist()
    assert max(values) - min(values) > 1e-3
    assert found == pytest.approx(values, abs=2e-5)


def numbered(steps: tuple[str, ...], end: str) -> str:
    return end.join(f"Step {n}: {step}" for n, step in enumerate(steps, 1))


def test_math_shepherd(tmp_path: Path) -> None:
    """The model card: `encode("+ -")[1:]`, `encode("ки")[-1]`, read at that token. On Mistral's real tokenizer these
    are the published ids."""
    tokenizer = mistral()
    candidates, tag = tokenizer.encode("+ -")[1:], tokenizer.encode("ки")[-1]
    assert (candidates, tag) == ([648, 387], 12902)
    publish(tmp_path, tiny(MistralConfig, MistralForCausalLM, tokenizer), tokenizer)
    ids = tokenizer.encode(f"{QUESTION} {numbered(STEPS, ' ки' + chr(10))} ки")
    at = [index for index, token in enumerate(ids) if token == tag]
    agree(scores(tmp_path, family="math-shepherd")[0], logits(tmp_path, ids)[at][:, candidates].softmax(-1)[:, 0])
    renumbered = Prefix(PREFIX.problem, tuple(f"Step {n}: {step}" for n, step in enumerate(STEPS, 1)))
    assert scores(tmp_path, renumbered, family="math-shepherd") == scores(tmp_path, family="math-shepherd")


def rlhflow_ids(tokenizer: PreTrainedTokenizerBase, steps: tuple[str, ...], **date: str) -> list[int]:
    conversation = []
    for number, step in enumerate(steps):
        conversation.append({"role": "user", "content": step if number else f"{QUESTION} {step}"})
        conversation.append({"role": "assistant", "content": "+"})
    return tokenizer.apply_chat_template(conversation, tokenize=True, return_dict=False, **date)


def test_rlhflow(tmp_path: Path) -> None:
    """The authors' script: a conversation for each step, whose third last token is about to say + or -. One sequence
    gives all of them."""
    tokenizer = llama3()
    publish(tmp_path, tiny(LlamaConfig, LlamaForCausalLM, tokenizer), tokenizer)
    candidates = [tokenizer.encode("+")[-1], tokenizer.encode("-")[-1]]
    expected = []
    for count in range(1, len(STEPS) + 1):
        ids = rlhflow_ids(tokenizer, STEPS[:count], date_string="26 Jul 2024")
        assert tokenizer.convert_ids_to_tokens(ids[-2:]) == ["+", "<|eot_id|>"]
        expected.append(logits(tmp_path, ids)[-3, candidates].softmax(-1)[0])
    agree(scores(tmp_path, family="rlhflow")[0], torch.stack(expected))


def test_the_date_of_the_chat_template_is_pinned(tmp_path: Path) -> None:
    """Trap: the template writes today's date, so that the same model gives other scores tomorrow."""
    tokenizer = llama3()
    assert rlhflow_ids(tokenizer, STEPS) != rlhflow_ids(tokenizer, STEPS, date_string="26 Jul 2024")
    lm = tiny(LlamaConfig, LlamaForSequenceClassification, tokenizer, num_labels=1)
    reward = load(publish(tmp_path, lm, tokenizer)).reward
    encoded = reward._reward._encoder.encode(PREFIX.problem, ("5",))
    written = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "5"}]
    pinned = tokenizer.apply_chat_template(written, tokenize=True, return_dict=False, date_string="26 Jul 2024")
    assert list(encoded.ids_T) == pinned


def test_skywork_o1(tmp_path: Path) -> None:
    """The authors' `prepare_input`: problem and steps tokenised piece by piece, the line end's id put after each;
    the sigmoid of the value there. Whole strings would have other ids at the step ends."""
    tokenizer = qwen(bos=True)
    head = layer("v_head.summary", 1)
    lm = tiny(Qwen2Config, Qwen2ForCausalLM, tokenizer)
    publish(tmp_path, lm, tokenizer, head, architectures=["Qwen2ForPrmModel"])
    ids = tokenizer.encode(f"{tokenizer.bos_token}{QUESTION}\n")
    end, at = tokenizer.encode("\n")[-1], []
    for step in STEPS:
        ids += [*tokenizer.encode(step), end]
        at.append(len(ids) - 1)
    assert ids != tokenizer.encode(f"{tokenizer.bos_token}{QUESTION}\n{text.join(STEPS)}")
    values = hidden(tmp_path, ids)[at] @ head["v_head.summary.weight"][0] + head["v_head.summary.bias"]
    agree(scores(tmp_path)[0], values.sigmoid())


def qwen_prm(path: Path) -> tuple[PreTrainedTokenizerBase, dict[str, Tensor]]:
    tokenizer = qwen()
    head = {**layer("score.0", 32, seed=1), **layer("score.2", 2, seed=2)}
    lm = tiny(Qwen2Config, Qwen2ForCausalLM, tokenizer)
    code = {"AutoModel": "modeling_qwen2_rm.Qwen2ForProcessRewardModel"}
    publish(path, lm, tokenizer, head, architectures=["Qwen2ForProcessRewardModel"], auto_map=code)
    return tokenizer, head


def qwen_chat(tokenizer: PreTrainedTokenizerBase, answer: str) -> list[int]:
    messages = [
        {"role": "system", "content": "Please reason step by step, and put your final answer within \\boxed{}."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": answer},
    ]
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)


def two_layers(values: Tensor, head: dict[str, Tensor]) -> Tensor:
    inner = (values @ head["score.0.weight"].T + head["score.0.bias"]).relu()
    return inner @ head["score.2.weight"].T + head["score.2.bias"]


def test_qwen_math_prm(tmp_path: Path) -> None:
    """The model card: the chat with `<extra_0>` after every step, P(second class) at each. Its own code, which
    config.json names, is not there and is not run."""
    tokenizer, head = qwen_prm(tmp_path)
    ids = qwen_chat(tokenizer, "<extra_0>".join(STEPS) + "<extra_0>")
    at = [index for index, token in enumerate(ids) if token == tokenizer.encode("<extra_0>")[0]]
    agree(scores(tmp_path)[0], two_layers(hidden(tmp_path, ids)[at], head).softmax(-1)[:, 1])


def test_the_box_of_the_system_prompt_is_no_backspace() -> None:
    """Trap: in a string that is not raw, the b of \\boxed makes a backspace."""
    assert QWEN_SYSTEM.encode().endswith(b"within " + bytes([92]) + b"boxed{}.")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_probability_that_underflows_stays_at_its_step(tmp_path: Path, dtype: str) -> None:
    """Trap: the model card picks scores out by `!= 0`, so that a probability of 0 fails, or shifts the others."""
    qwen_prm(tmp_path)
    sure, values = 1e6, torch.tensor(scores(tmp_path, Prefix(PREFIX.problem, STEPS * 5))[0]).logit()
    weights = load_file(tmp_path / "model.safetensors")
    weights["score.2.weight"] *= sure
    weights["score.2.bias"] *= sure
    weights["score.2.bias"][1] -= sure * values.median()
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    long = Prefix(PREFIX.problem, STEPS * 5)
    found = asyncio.run(load(tmp_path, dtype=dtype).reward.score(long)).scores
    assert len(found) == 15
    assert {0.0, 1.0} <= set(found)


def test_er_prm(tmp_path: Path) -> None:
    """The authors' script: " +" and " -" at the id of " ки", after which the next step follows at once."""
    tokenizer = llama3()
    publish(tmp_path, tiny(LlamaConfig, LlamaForCausalLM, tokenizer), tokenizer)
    ids = tokenizer(f"{QUESTION} {numbered(STEPS, ' ки')} ки")["input_ids"]
    at = [index for index, token in enumerate(ids) if token == tokenizer.encode(" ки")[-1]]
    candidates = [tokenizer.encode(" +")[-1], tokenizer.encode(" -")[-1]]
    agree(scores(tmp_path, family="er-prm")[0], logits(tmp_path, ids)[at][:, candidates].softmax(-1)[:, 0])


def test_pqm(tmp_path: Path) -> None:
    """The authors' script: an added token after every step, and the value there as it is."""
    tokenizer = mistral("[PRM]")
    head = layer("v_head.summary", 1)
    publish(tmp_path, tiny(LlamaConfig, LlamaForCausalLM, tokenizer), tokenizer, head)
    query = (
        "Below is an instruction that describes a task.\nWrite a response that appropriately completes the request."
        f"\n\n### Instruction:\n{QUESTION}\n\n### Response: Let's think step by step"
    )
    ids = tokenizer.encode(f"{query}\n{numbered(STEPS, ' [PRM]' + chr(10))} [PRM]", add_special_tokens=False)
    at = [index for index, token in enumerate(ids) if token == tokenizer.convert_tokens_to_ids("[PRM]")]
    values = hidden(tmp_path, ids)[at] @ head["v_head.summary.weight"][0] + head["v_head.summary.bias"]
    agree(scores(tmp_path)[0], values)


def test_llemma(tmp_path: Path) -> None:
    """The authors' reader: the sigmoid of the mean logit at the first of the two line ends after each step, the pair
    after the heading left out. Mistral's real tokenizer stands in for Llama's, which writes line ends as bytes too."""
    tokenizer = mistral()
    lm = tiny(LlamaConfig, LlamaForCausalLM, tokenizer)
    lm.lm_head.weight.data += layer("row", 1)["row.weight"]  # or the mean over a random vocabulary would be nought
    publish(tmp_path, lm, tokenizer)
    ids = tokenizer.encode(f"# Question\n\n{QUESTION}\n\n# Solution\n\n" + "".join(f"{step}\n\n" for step in STEPS))
    ends = tokenizer.encode("\n\n", add_special_tokens=False)[1:]
    begin = tokenizer.encode("# Solution", add_special_tokens=False)[1:]
    solution = next(i for i in range(len(ids)) if ids[i : i + len(begin)] == begin)
    at = [i for i in range(solution, len(ids)) if ids[i : i + 2] == ends][1:]
    agree(scores(tmp_path, family="llemma")[0], logits(tmp_path, ids)[at].mean(-1).sigmoid())


@pytest.mark.parametrize("separator", ["\n", "\n\n"])
@pytest.mark.parametrize("family", ["trl", "pure"])
def test_token_classification(tmp_path: Path, family: str, separator: str) -> None:
    """TRL's `tokenize_row`: prompt, steps and separators each tokenised alone, read at the separator's last token.
    Trap: reading models so trained on whole strings has cost several points of F1, for the ids differ."""
    tokenizer = qwen()
    publish(tmp_path, tiny(Qwen2Config, Qwen2ForTokenClassification, tokenizer, num_labels=2), tokenizer)
    ids, at = list(tokenizer(QUESTION, add_special_tokens=False)["input_ids"]), []
    for step in STEPS:
        ids += tokenizer(step, add_special_tokens=False)["input_ids"]
        ids += tokenizer.encode(separator, add_special_tokens=False)
        at.append(len(ids) - 1)
    assert ids != tokenizer.encode(QUESTION + "".join(step + separator for step in STEPS))
    with torch.no_grad():
        said = AutoModelForTokenClassification.from_pretrained(tmp_path)(torch.tensor([ids])).logits[0, at].softmax(-1)
    expected = said[:, 1] if family == "trl" else said[:, 1] - said[:, 0]
    agree(scores(tmp_path, family=family, separator=separator)[0], expected)


def reasoneval(tokenizer: PreTrainedTokenizerBase, size: str) -> tuple[list[int], list[int]]:
    """Ids and positions as the authors' script finds them."""
    mark = str(tokenizer.pad_token)
    prompt = f"Question:\n{QUESTION}\nAnswer:\nLet's think step by step.\n"
    separator = tokenizer(mark)["input_ids"][-1]
    kept: list[int] = []
    at: list[int] = []
    for index, token in enumerate(tokenizer(prompt + mark + "".join(step + mark for step in STEPS))["input_ids"]):
        if token == separator:
            at.append(index - 1 - len(at))
        else:
            kept.append(token)
    return ([1, *kept], at[2:]) if size == "7b" else (kept, at[1:])


@pytest.mark.parametrize(
    ("size", "config", "model", "pad"),
    [("7b", MistralConfig, MistralModel, "<s>"), ("34b", LlamaConfig, LlamaModel, "<unk>")],
)
def test_reasoneval(tmp_path: Path, size: str, config: type, model: type, pad: str) -> None:
    """The pad token parts the steps and is then taken out; the 7B model's is its begin token, which the script counts
    as one of them."""
    tokenizer = mistral(pad=pad)
    head = layer("score_head", 3)
    publish(tmp_path, tiny(config, model, tokenizer), tokenizer, head)
    ids, at = reasoneval(tokenizer, size)
    assert len(at) == len(STEPS)
    classes = (hidden(tmp_path, ids)[at] @ head["score_head.weight"].T + head["score_head.bias"]).softmax(-1)
    agree(scores(tmp_path)[0], classes[:, 1] + classes[:, 2])


def test_sequence_classifier(tmp_path: Path) -> None:
    """transformers' own pooling, at the last token of the chat, for the solution up to each step."""
    tokenizer = llama3()
    lm = tiny(LlamaConfig, LlamaForSequenceClassification, tokenizer, num_labels=1)
    publish(tmp_path, lm, tokenizer)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    expected = []
    for count in range(1, len(STEPS) + 1):
        messages = [
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": "\n".join(STEPS[:count])},
        ]
        ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, date_string="26 Jul 2024")
        model.config.pad_token_id = None  # nothing is padded here, and this tokenizer pads with what ends a turn
        with torch.no_grad():
            expected.append(model(torch.tensor([ids])).logits[0, 0])
    agree(scores(tmp_path)[0], torch.stack(expected))


def test_qwen_math_rm(tmp_path: Path) -> None:
    """The model card: the chat of the whole solution, the value at its last token."""
    tokenizer = qwen()
    head = {**layer("score.0", 32, seed=1), **layer("score.2", 1, seed=2)}
    lm = tiny(Qwen2Config, Qwen2Model, tokenizer)
    publish(tmp_path, lm, tokenizer, head, architectures=["Qwen2ForRewardModel"])
    expected = []
    for count in range(1, len(STEPS) + 1):
        ids = qwen_chat(tokenizer, "\n".join(STEPS[:count]))
        expected.append(two_layers(hidden(tmp_path, ids)[-1:], head)[0, 0])
    agree(scores(tmp_path)[0], torch.stack(expected))


def test_every_family_is_tested_here() -> None:
    tests = " ".join(name for name in globals() if name.startswith("test_"))
    tests += " test_trl test_pure test_reasoneval_7b test_reasoneval_34b"
    assert all(f"test_{name.replace('-', '_')}" in tests for name in FAMILIES)
