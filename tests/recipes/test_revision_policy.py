"""The recipe of a policy that revises: what it is shown and what it learns."""

import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.revision_policy import IGNORE, Settings, Trajectory, batches, edit_distance, main, row, trajectories
from stepmark.grading import grade
from stepmark.policies import bundled
from stepmark.policies.tokens import plain_prompt
from stepmark.problems import quantities
from stepmark.records import read
from stepmark.search.revise import asks
from stepmark.steps import join
from stepmark.types import Solution

PROBLEM = quantities.problem("train", 0, 2, 3)
RIGHT = quantities.solve(PROBLEM)
WORDS = AutoTokenizer.from_pretrained(bundled.PATH)


def drawn(*steps: tuple[str, ...], finish: str = "stop") -> list[Solution]:
    """Solutions as the bundled policy would have written them."""
    ids = [(*WORDS.encode(join(one), add_special_tokens=False), WORDS.eos_token_id) for one in steps]
    answers = [one[-1].removeprefix("Answer: ") for one in steps]
    return [
        Solution(PROBLEM.id, i, one, answer, finish, tuple(tokens))
        for i, (one, answer, tokens) in enumerate(zip(steps, answers, ids, strict=True))
    ]


def wrong(*answers: int) -> list[tuple[str, ...]]:
    return [(*RIGHT[:-1], f"Answer: {answer}") for answer in answers]


def test_edit_distance_is_that_of_the_table():
    """Wagner and Fischer's table, row by row."""

    def slow(one: str, other: str) -> int:
        above = list(range(len(other) + 1))
        for i, a in enumerate(one, 1):
            here = [i]
            for j, b in enumerate(other, 1):
                here.append(min(above[j] + 1, here[-1] + 1, above[j - 1] + (a != b)))
            above = here
        return above[-1]

    rng = random.Random(0)
    for _ in range(500):
        one, other = ("".join(rng.choices("ab\n", k=rng.randint(0, 80))) for _ in range(2))
        assert edit_distance(one, other) == slow(one, other)


def test_wrong_attempts_stand_before_a_right_one_and_the_nearest_is_the_last():
    near, far = (*RIGHT[:-1], "Answer: 1000"), ("Ana = 1", "Answer: 1000")
    solutions = drawn(far, RIGHT, far, near, RIGHT)
    rng = random.Random(0)
    found = [one for _ in range(50) for one in trajectories(PROBLEM, solutions, 1, 3, rng)]
    assert all(one.target.steps == RIGHT for one in found)
    assert {len(one.attempts) for one in found} == {0, 1, 2, 3}
    for one in found:
        assert all(not grade(PROBLEM, steps[-1].removeprefix("Answer: ")).correct for steps in one.attempts)
        assert one.attempts[-1:] in ((), (near,))
        assert near not in one.attempts[:-1]


def test_no_trajectory_comes_twice():
    solutions = drawn(RIGHT, RIGHT, RIGHT, *wrong(1000))
    found = trajectories(PROBLEM, solutions, 3, 2, random.Random(1))
    assert sorted(len(one.attempts) for one in found) == [0, 1]
    assert len(trajectories(PROBLEM, drawn(RIGHT, RIGHT), 2, 2, random.Random(0))) == 1


def test_a_cut_solution_is_neither_target_nor_attempt():
    assert not trajectories(PROBLEM, drawn(RIGHT, finish="length"), 4, 2, random.Random(0))
    solutions = [*drawn(RIGHT), *drawn(*wrong(1000), finish="length")]
    found = [one for _ in range(9) for one in trajectories(PROBLEM, solutions, 4, 2, random.Random(0))]
    assert not any(one.attempts for one in found)


def test_a_row_is_what_the_search_shows_and_its_target_alone_is_learned():
    [target] = drawn(RIGHT)
    attempts = tuple(wrong(1, 2))
    ids, learned = row(Trajectory(PROBLEM, attempts, target), WORDS, 512)
    prompt = plain_prompt(WORDS, asks(PROBLEM, attempts))
    assert ids == prompt + list(target.token_ids)
    at = [i for i, token in enumerate(learned) if token != IGNORE]
    assert [learned[i] for i in at] == list(target.token_ids) == [ids[i + 1] for i in at]


def test_what_does_not_fit_loses_its_earliest_attempts():
    [target] = drawn(RIGHT)
    first, second = wrong(1, 2)
    whole, _ = row(Trajectory(PROBLEM, (first, second), target), WORDS, 512)
    shorter, _ = row(Trajectory(PROBLEM, (first, second), target), WORDS, len(whole) - 1)
    assert shorter == row(Trajectory(PROBLEM, (second,), target), WORDS, 512)[0]


def test_an_epoch_has_every_row_once_within_the_size_of_a_batch():
    rng = random.Random(0)
    rows = [([i + 1] * rng.randint(1, 200), [i + 1]) for i in range(60)]
    rows = [(ids, mark * len(ids)) for ids, mark in rows]
    some = list(batches(rows, 512, 0, rng))
    assert all(ids.numel() <= 512 and ids.shape[1] % 64 == 0 for ids, _ in some)
    assert all(((targets == IGNORE) == (ids == 0)).all() for ids, targets in some)
    seen = [one[one > 0].tolist() for ids, _ in some for one in ids]
    assert sorted(seen) == sorted(ids for ids, _ in rows)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("revision")
    settings = Settings(out, problems=8, solutions=6, batch_tokens=2048, held_out=0.25, learning_rate=1e-3, epochs=3)
    main(settings)
    return out


def test_the_model_comes_to_expect_what_it_learned(tuned: Path):
    """And is one that the search can use: same tokens, same sizes."""
    solutions = [one for one in read(tuned / "solutions.jsonl.gz", Solution) if one.finish == "stop"]
    problems = {one.id: one for one in quantities.generate("train", 8, seed=3000)}
    learned = [one for one in solutions if int(one.problem_id.rsplit("/", 1)[1]) >= 2]
    right = [one for one in learned if grade(problems[one.problem_id], one.answer).correct]
    assert right

    def mean(path: Path) -> float:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        words = AutoTokenizer.from_pretrained(path)
        total = 0.0
        for one in right:
            ids, targets = row(Trajectory(problems[one.problem_id], (), one), words, 512)
            logits = model(torch.tensor([ids])).logits[0]
            total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(targets), ignore_index=IGNORE))
        return total

    with torch.no_grad():
        assert mean(tuned / "model") < mean(bundled.PATH)
