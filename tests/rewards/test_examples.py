import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from stepmark import steps as text
from stepmark.errors import InputError, TooLongError
from stepmark.rewards.examples import (
    IGNORED,
    Encoder,
    Example,
    Layout,
    from_signed,
    single_token,
    step_targets,
    token_labels,
)
from stepmark.types import Problem
from tests.rewards.toy import problem

STEPS = ("good 1", "so 2 3", "bad")


def words(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> list[str]:
    return tokenizer.convert_ids_to_tokens(list(ids))


def test_the_layout_is_the_documented_one(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = Encoder(tokenizer, Layout(100, marker="<|judge|>")).encode(problem(7), STEPS)
    question = ["<|bos|>", "what", " is", " the", " sum", " 7", "?", "\n"]
    end = ["\n", "<|judge|>"]
    assert words(tokenizer, encoded.ids_T) == [*question, "good", " 1", *end, "so", " 2", " 3", *end, "bad", *end]
    assert encoded.start == len(question)
    assert [encoded.ids_T[at] for at in encoded.judged_S] == [tokenizer.convert_tokens_to_ids("<|judge|>")] * 3


def test_without_a_marker_the_line_end_is_judged(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = Encoder(tokenizer, Layout(100)).encode(problem(), STEPS)
    line_end = tokenizer.convert_tokens_to_ids("\n")
    assert encoded.judged_S == tuple(i for i, t in enumerate(encoded.ids_T) if t == line_end and i >= encoded.start)
    assert encoded.judged_S[-1] == len(encoded.ids_T) - 1


def test_a_longer_solution_begins_with_the_ids_of_a_shorter_one() -> None:
    """Trap: this tokenizer merges a word and the line end after it, so whole strings end steps in another id, and the
    encoding of a prefix is no prefix of the encoding. Pieces keep both."""
    vocabulary = ["a", "b", "a\n", "b\n", "\n", "q", "q\n"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="q"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[a-z]?\n?"), "isolated")
    merging = PreTrainedTokenizerFast(tokenizer_object=backend)
    asked = Problem(id="p", question="q", gold="1", source="toy")
    encoder = Encoder(merging, Layout(100))
    short, long = encoder.encode(asked, ("a",)), encoder.encode(asked, ("a", "b"))
    assert words(merging, long.ids_T) == ["q\n", "a", "\n", "b", "\n"]
    assert long.ids_T[: len(short.ids_T)] == short.ids_T
    assert tuple(merging.encode("q\n" + text.join(("a", "b")))) != long.ids_T


def test_a_marker_written_in_the_text_shifts_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    """Positions are laid out, not searched for: a solution that contains the marker still has one per step."""
    encoder = Encoder(tokenizer, Layout(100, marker="<|judge|>"))
    hostile = ("good <|judge|> 1", "<|judge|>", "bad")
    encoded = encoder.encode(problem(), hostile)
    assert len(encoded.judged_S) == 3
    ends = [len(encoder.encode(problem(), hostile[: n + 1]).ids_T) - 1 for n in range(3)]
    assert list(encoded.judged_S) == ends


def test_too_long_is_an_error_not_a_cut(tokenizer: PreTrainedTokenizerBase) -> None:
    exact = len(Encoder(tokenizer, Layout(100)).encode(problem(), STEPS).ids_T)
    assert len(Encoder(tokenizer, Layout(exact)).encode(problem(), STEPS).ids_T) == exact
    with pytest.raises(TooLongError, match=f"'p0' has {exact} tokens, {exact - 1} are the limit"):
        Encoder(tokenizer, Layout(exact - 1)).encode(problem(), STEPS)


@pytest.mark.parametrize("steps", [(), ("good 1", ""), ("good 1", "  \n")], ids=["none", "empty", "blank"])
def test_nothing_to_judge_is_an_error(tokenizer: PreTrainedTokenizerBase, steps: tuple[str, ...]) -> None:
    """Trap: a trailing separator makes an empty last step elsewhere, which gets the score that counts most."""
    with pytest.raises(InputError):
        Encoder(tokenizer, Layout(100)).encode(problem(), steps)


@pytest.mark.parametrize("marker", ["<|no such token|>", "two words"])
def test_a_marker_is_one_known_token(tokenizer: PreTrainedTokenizerBase, marker: str) -> None:
    with pytest.raises(InputError, match="not one token"):
        Encoder(tokenizer, Layout(100, marker=marker))


def test_a_marker_is_never_the_token_for_unknown_words() -> None:
    """Also where the tokenizer does not declare which one that is."""
    backend = Tokenizer(models.WordLevel({"?": 0, "\n": 1, "yes": 2}, unk_token="?"))
    silent = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert silent.encode("no", add_special_tokens=False) == [0]
    assert single_token(silent, "yes") == 2
    with pytest.raises(InputError, match="not one token"):
        single_token(silent, "no")


def test_a_label_keeps_its_space(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.convert_ids_to_tokens([single_token(tokenizer, " +")]) == [" +"]
    with pytest.raises(InputError, match="not one token"):
        single_token(tokenizer, "+")


def test_neutral_is_what_the_user_says() -> None:
    """Trap: a 0 by people is not a wrong step, a 0 from rollouts is."""
    ratings = (1, 0, None, -1)
    assert from_signed(ratings) == (1.0, 1.0, None, 0.0)
    assert from_signed(ratings, neutral="wrong") == (1.0, 0.0, None, 0.0)
    assert from_signed(ratings, neutral="unrated") == (1.0, None, None, 0.0)
    with pytest.raises(InputError, match="targets already"):
        from_signed((0.5,))


def test_targets_end_with_the_first_error() -> None:
    example = Example(problem(), ("a", "b", "c", "d"), (1.0, 0.25, 0.0, 1.0), 0.0)
    assert step_targets(example, "prm") == (1.0, 0.25, 0.0, None)
    assert step_targets(example, "prm", past_first_error=True) == (1.0, 0.25, 0.0, 1.0)
    assert step_targets(example, "orm") == (None, None, None, 0.0)


@pytest.mark.parametrize(
    ("example", "kind", "message"),
    [
        (Example(problem(), ("a", "b"), (1.0,)), "prm", "2 steps and 1 targets"),
        (Example(problem(), ("a",), (-1.0,)), "prm", "from_signed"),
        (Example(problem(), ("a",), (float("nan"),)), "prm", "nan"),
        (Example(problem(), ("a",), (None,)), "prm", "no rated step"),
        (Example(problem(), ("a",), (1.0,)), "orm", "no outcome"),
    ],
)
def test_targets_that_cannot_be_used_are_errors(example: Example, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        step_targets(example, kind)


def test_a_target_stands_where_its_step_is_judged(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = Encoder(tokenizer, Layout(100)).encode(problem(), STEPS)
    labels_T = token_labels(encoded, (1.0, 0.0, None))
    expected = [IGNORED] * len(encoded.ids_T)
    expected[encoded.judged_S[0]] = 1.0
    expected[encoded.judged_S[1]] = 0.0
    assert labels_T == expected


def test_an_orm_learns_from_every_token_of_the_solution_and_none_of_the_question(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    encoded = Encoder(tokenizer, Layout(100)).encode(problem(), STEPS)
    labels_T = token_labels(encoded, (None, None, 1.0), every_token=True)
    assert labels_T == [IGNORED] * encoded.start + [1.0] * (len(encoded.ids_T) - encoded.start)
