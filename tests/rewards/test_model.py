import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stepmark.errors import InputError
from stepmark.rewards.examples import Layout
from stepmark.rewards.model import HEAD_FILE, Spec, build, load, load_lm, save

SPEC = Spec(
    kind="prm",
    head="linear",
    layout=Layout(max_tokens=100, marker="<|judge|>"),
    plus=" +",
    minus=" -",
    aggregate="product",
    label_source="oracle",
    stepmark="0",
    training={"seed": 5},
)


@pytest.fixture
def saved(base: Path, tmp_path: Path) -> Path:
    lm, tokenizer = load_lm(base)
    save(build(lm, tokenizer, SPEC), tokenizer, SPEC, tmp_path / "reward")
    return tmp_path / "reward"


@pytest.mark.parametrize("head", ["label_tokens", "linear", "likelihood"])
def test_a_loaded_model_is_the_saved_one(base: Path, tmp_path: Path, head: str) -> None:
    lm, tokenizer = load_lm(base)
    spec = dataclasses.replace(SPEC, head=head)
    net = build(lm, tokenizer, spec)
    save(net, tokenizer, spec, tmp_path / "reward")
    loaded, loaded_tokenizer, loaded_spec = load(tmp_path / "reward")
    assert loaded_spec == spec
    assert loaded_tokenizer.get_vocab() == tokenizer.get_vocab()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_a_linear_head_starts_from_its_seed(base: Path) -> None:
    lm, tokenizer = load_lm(base)
    a, b = (build(lm, tokenizer, SPEC).head.weight for _ in range(2))
    other = build(lm, tokenizer, dataclasses.replace(SPEC, training={"seed": 6})).head.weight
    assert torch.equal(a, b)
    assert not torch.equal(a, other)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("reward.json", "reward.json is missing"),
        ("tokenizer_config.json", "no tokenizer here"),
        ("config.json", "config.json is missing"),
        ("model.safetensors", "cannot be loaded"),
        (HEAD_FILE, "the head is missing"),
    ],
)
def test_a_directory_that_lacks_a_part_is_refused(saved: Path, file: str, message: str) -> None:
    """Each part decides scores: none may be guessed or drawn anew."""
    (saved / file).unlink()
    with pytest.raises(InputError, match=message) as caught:
        load(saved)
    assert str(saved) in str(caught.value)
    assert caught.value.remedy


def test_missing_weights_are_refused_not_drawn_at_random(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"layers\.1\.mlp\.up_proj\.weight"):
        load(saved)


def test_a_description_of_something_else_is_refused(saved: Path) -> None:
    spec = json.loads((saved / "reward.json").read_text())
    (saved / "reward.json").write_text(json.dumps({**spec, "head": "three-layer"}))
    with pytest.raises(InputError, match="three-layer"):
        load(saved)
    (saved / "reward.json").write_text("{")
    with pytest.raises(InputError, match=r"reward\.json"):
        load(saved)


def test_another_tokenizer_with_more_tokens_is_refused(saved: Path) -> None:
    tokenizer = json.loads((saved / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["one more"] = len(tokenizer["model"]["vocab"])
    (saved / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InputError, match="the tokenizer has 47 tokens and the model 46"):
        load(saved)


def test_a_save_that_was_cut_short_leaves_no_directory(base: Path, tmp_path: Path) -> None:
    """A directory that is there is complete; what an earlier attempt left behind is replaced."""
    lm, tokenizer = load_lm(base)
    net = build(lm, tokenizer, SPEC)
    unsavable = dataclasses.replace(SPEC, training={"seed": object()})
    with pytest.raises(TypeError):
        save(net, tokenizer, unsavable, tmp_path / "reward")
    assert not (tmp_path / "reward").exists()
    save(net, tokenizer, SPEC, tmp_path / "reward")
    load(tmp_path / "reward")
    assert [path.name for path in tmp_path.iterdir()] == ["reward"]
    with pytest.raises(InputError, match="already"):
        save(net, tokenizer, SPEC, tmp_path / "reward")
