"""The bundled policy is an ordinary model directory, small, and solves what it was trained for."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from stepmark.grading import grade
from stepmark.policies import bundled
from stepmark.policies.draw import solution
from stepmark.problems import quantities
from stepmark.types import Prefix, Sampling

TOKENIZER = AutoTokenizer.from_pretrained(bundled.PATH)


def test_it_is_small():
    assert sum(path.stat().st_size for path in bundled.PATH.iterdir()) <= 8 * 2**20


@given(st.text(max_size=60))
def test_its_tokenizer_loses_nothing(text):
    ids = TOKENIZER.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("split", ["train", "test", "ood"])
def test_every_word_of_its_problems_is_one_token(split):
    """Bytes stand for unknown text; a problem that needed them would be one that the policy never learnt to read."""
    for problem in quantities.generate(split, 300):
        text = problem.question + "\n" + "\n".join(quantities.solve(problem))
        pieces = TOKENIZER.convert_ids_to_tokens(TOKENIZER.encode(text, add_special_tokens=False))
        assert not [piece for piece in pieces if piece.startswith("<0x")], problem.question


def test_it_solves_easy_problems_greedily():
    """Chance is one in dozens; 70 to 90 % of levels 1 to 6 are its specification, the easy half is above it."""
    policy = bundled.load()
    problems = list(quantities.generate("test", 40, seed=77, levels=(1, 2, 3)))

    async def run():
        greedy = Sampling(temperature=0, max_tokens=256)
        return await asyncio.gather(*(policy.sample(Prefix(problem), 1, greedy) for problem in problems))

    completions = asyncio.run(run())
    policy.close()
    answers = [solution(problem, 0, one[0]).answer for problem, one in zip(problems, completions, strict=True)]
    assert sum(grade(problem, answer).correct for problem, answer in zip(problems, answers, strict=True)) >= 30
