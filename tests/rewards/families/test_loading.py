import asyncio
import json
from pathlib import Path

import pytest
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForTokenClassification,
)

from stepmark import steps as text
from stepmark.errors import InputError, TooLongError
from stepmark.rewards.examples import Layout
from stepmark.rewards.families import describe, load
from stepmark.rewards.families.family import MATH_SHEPHERD, QWEN_PRM, RLHFLOW
from stepmark.rewards.families.text import TextEncoder
from stepmark.rewards.model import Spec, build, load_lm, save
from stepmark.types import Prefix, Problem, StepScores
from tests.rewards.families.published import layer, publish, tiny
from tests.rewards.families.tokenizers import byte_level, llama3, mistral, qwen

PROBLEM = Problem("p", "What is 2 + 3?", "5", "toy")
STEPS = ("The sum is 2 + 3.", "That is 5.")


def score(path: Path, steps: tuple[str, ...], family: str | None = None, separator: str | None = None) -> StepScores:
    return asyncio.run(load(path, family, separator=separator).reward.score(Prefix(PROBLEM, steps)))


@pytest.fixture
def qwen_prm(tmp_path: Path) -> Path:
    head = {**layer("score.0", 32, seed=1), **layer("score.2", 2, seed=2)}
    tokenizer = qwen()
    lm = tiny(Qwen2Config, Qwen2ForCausalLM, tokenizer)
    return publish(tmp_path / "prm", lm, tokenizer, head, architectures=["Qwen2ForProcessRewardModel"])


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    tokenizer = llama3()
    return publish(tmp_path / "plain", tiny(LlamaConfig, LlamaForCausalLM, tokenizer), tokenizer)


def test_what_was_chosen_is_told(qwen_prm: Path) -> None:
    loaded = load(qwen_prm)
    assert loaded.family == QWEN_PRM
    assert "read as qwen-math-prm" in loaded.told
    assert describe(qwen_prm).told == loaded.told
    assert (describe(qwen_prm).aggregate, describe(qwen_prm).threshold) == ("product", 0.5)
    assert "P(right)" in loaded.told
    assert "read, as told, as qwen-math-prm" in load(qwen_prm, "qwen-math-prm").told


def test_a_model_of_our_own_is_read_as_it_says(plain: Path, tmp_path: Path) -> None:
    lm, tokenizer = load_lm(plain)
    spec = Spec("prm", "linear", Layout(max_tokens=100), " +", " -", "min", "oracle", "0", {"seed": 1})
    save(build(lm, tokenizer, spec), tokenizer, spec, tmp_path / "own")
    loaded = load(tmp_path / "own")
    assert loaded.family is None
    assert describe(tmp_path / "own").told == loaded.told
    assert describe(tmp_path / "own").aggregate == "min"
    assert "trained by stepmark, prm; use: min" in loaded.told
    with pytest.raises(InputError, match=r"reward\.json says how it is read"):
        load(tmp_path / "own", "trl")


def test_code_that_comes_with_a_model_is_never_run(qwen_prm: Path, tmp_path: Path) -> None:
    """Published process reward models bring Python files of their own, which `auto_map` names."""
    ran = tmp_path / "ran"
    (qwen_prm / "modeling.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Model: pass\nclass Config: pass\n")
    said = json.loads((qwen_prm / "config.json").read_text())
    names = {"AutoConfig": "Config", "AutoModel": "Model", "AutoModelForCausalLM": "Model"}
    said["auto_map"] = {auto: f"modeling.{name}" for auto, name in names.items()}
    (qwen_prm / "config.json").write_text(json.dumps(said))
    assert len(score(qwen_prm, STEPS).scores) == 2
    assert not ran.exists()


def test_a_language_model_does_not_tell_its_family(plain: Path) -> None:
    """A causal model judges by its own head: any language model has that, and a guess would give plausible scores."""
    with pytest.raises(InputError, match="do not tell how this model judges") as caught:
        load(plain)
    assert "math-shepherd" in str(caught.value)
    assert len(score(plain, STEPS, "rlhflow").scores) == len(STEPS)


def test_two_families_that_look_alike_are_both_named(tmp_path: Path) -> None:
    """TRL's and PURE's are the same files, and their scores are not."""
    tokenizer = qwen()
    publish(tmp_path, tiny(Qwen2Config, Qwen2ForTokenClassification, tokenizer, num_labels=2), tokenizer)
    with pytest.raises(InputError, match="trl or pure"):
        load(tmp_path)
    with pytest.raises(InputError, match=r"what parts the steps for a model of the kind trl .* TRL's own default"):
        load(tmp_path, "trl")
    assert "separator '\\n\\n'" in describe(tmp_path, "trl", separator="\n\n").told
    assert describe(tmp_path, "pure").threshold == 0  # between P(wrong) = 1 and P(right) = 1
    trl, pure = (score(tmp_path, STEPS, family, separator="\n").scores for family in ("trl", "pure"))
    assert [2 * one - 1 for one in trl] == pytest.approx(pure)  # P(right) - P(wrong), as they add up to 1


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("best-prm", "there is no family 'best-prm'"),
        ("qwen-math-prm", "the tokenizer has no <extra_0>"),
        ("skywork-o1", "its architecture is"),
        ("reasoneval-34b", "there are no weights score_head.weight"),
        ("reasoneval-7b", "its model_type is llama"),
    ],
)
def test_a_family_that_the_files_contradict_is_refused(plain: Path, family: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(plain, family)


def test_a_head_of_another_size_is_refused(qwen_prm: Path) -> None:
    said = json.loads((qwen_prm / "config.json").read_text())
    (qwen_prm / "config.json").write_text(json.dumps({**said, "architectures": ["Qwen2ForRewardModel"]}))
    with pytest.raises(InputError, match="its head has 2 outputs"):
        load(qwen_prm, "qwen-math-rm")


def test_a_value_head_of_unknown_origin_is_refused(tmp_path: Path) -> None:
    """A critic of a policy has the same weights as Skywork's PRM; what it was trained to say is not in the files."""
    tokenizer = qwen(bos=True)
    publish(tmp_path, tiny(Qwen2Config, Qwen2ForCausalLM, tokenizer), tokenizer, layer("v_head.summary", 1))
    with pytest.raises(InputError, match="do not tell"):
        load(tmp_path)


def test_a_directory_that_lacks_a_part_is_refused(qwen_prm: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json is missing"):
        load(tmp_path / "nothing")
    (qwen_prm / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        load(qwen_prm)


def test_a_solution_longer_than_the_model_reads_is_an_error(qwen_prm: Path) -> None:
    """Trap: cut, it would lose its last markers, and give fewer scores than steps."""
    with pytest.raises(TooLongError, match="512 are the limit"):
        score(qwen_prm, STEPS * 40)
    said = json.loads((qwen_prm / "config.json").read_text())
    (qwen_prm / "config.json").write_text(json.dumps({**said, "max_position_embeddings": 32768}))
    with pytest.raises(TooLongError, match="4096 are the limit"):  # Qwen's own, whatever the position table says
        score(qwen_prm, STEPS * 400)


@pytest.mark.parametrize("family", ["rlhflow", "er-prm"])
def test_a_trailing_separator_changes_nothing(plain: Path, family: str) -> None:
    """Trap: it makes an empty last step elsewhere, whose score is then the solution's."""
    solution = text.join(STEPS)
    found = score(plain, text.split(solution + "\n\n"), family)
    assert found == score(plain, text.split(solution), family)
    assert len(found.scores) == len(STEPS)
    with pytest.raises(InputError, match="blank"):
        score(plain, (*STEPS, "\n"), family)


def test_a_marker_in_the_text_shifts_nothing() -> None:
    """A step that says what the marker says is a step: positions are those of the markers that were put there."""
    tokenizer = mistral()
    encoder = TextEncoder(tokenizer, MATH_SHEPHERD.text, 1000)
    hostile = ("ки + ки", "as ки says", "5 ки")
    encoded = encoder.encode(PROBLEM, hostile)
    tag = tokenizer.encode("ки")[-1]
    assert sum(token == tag for token in encoded.ids_T) > len(hostile)
    assert [encoded.ids_T[at] for at in encoded.judged_S] == [tag] * 3
    alone = [encoder.encode(PROBLEM, hostile[: n + 1]) for n in range(3)]
    assert list(encoded.judged_S) == [len(one.ids_T) - 1 for one in alone]


@pytest.mark.parametrize("step", ["x <extra_0> y", "the end<|im_end|>"])
def test_a_special_token_in_the_text_is_refused(qwen_prm: Path, step: str) -> None:
    """The model would take it for the token: one step more, or the end of the turn."""
    with pytest.raises(InputError, match="special token"):
        score(qwen_prm, (STEPS[0], step))


def test_a_marker_that_merges_with_its_neighbours_is_refused() -> None:
    """This tokenizer has one token for a full stop and the marker after it: there is no token at which to read."""
    merging = byte_level(r"\s+|\S+(?: ки)?", [" ки", ". ки"], [])
    encoder = TextEncoder(merging, MATH_SHEPHERD.text, 1000)
    with pytest.raises(InputError, match="merges the marker"):
        encoder.encode(PROBLEM, ("That is 5.",))


def test_a_tokenizer_without_the_marker_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(InputError, match="no token for the marker ' ки'"):
        TextEncoder(tokenizer, MATH_SHEPHERD.text, 1000)


def test_rlhflow_is_read_one_before_and_math_shepherd_at_the_marker() -> None:
    """Trap: off by one, a score still looks plausible."""
    read = TextEncoder(llama3(), RLHFLOW.text, 1000).encode(PROBLEM, STEPS)
    plus = llama3().convert_tokens_to_ids("+")
    assert [read.ids_T[at + 1] for at in read.judged_S] == [plus] * len(STEPS)
    at = TextEncoder(llama3(), MATH_SHEPHERD.text, 1000).encode(PROBLEM, STEPS)
    assert [at.ids_T[index] for index in at.judged_S] == [llama3().convert_tokens_to_ids("ĠÐºÐ¸")] * len(STEPS)


def test_an_outcome_model_costs_a_sequence_for_every_step(tmp_path: Path) -> None:
    tokenizer = llama3()
    publish(tmp_path, tiny(LlamaConfig, LlamaForSequenceClassification, tokenizer, num_labels=1), tokenizer)
    whole, first = score(tmp_path, STEPS), score(tmp_path, STEPS[:1])
    assert whole.scores[0] == pytest.approx(first.scores[0], abs=1e-5)
    assert (first.cost.requests, whole.cost.requests) == (1, 2)
    assert whole.cost.scored + whole.cost.cached > 2 * first.cost.scored - 10
