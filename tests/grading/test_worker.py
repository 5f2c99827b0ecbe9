"""Symbolic work and batches in processes: killed at the limit, replaced, never started for plain answers."""

import subprocess
import sys

import pytest

from stepmark.grading import equal, grade, grade_all
from stepmark.grading.forms import read
from stepmark.grading.symbolic import is_zero
from stepmark.grading.tree import Node
from stepmark.grading.worker import Worker, WorkerFailure
from stepmark.types import Problem


def test_sympy_decides_what_evaluation_cannot() -> None:
    assert equal(r"\sum_{n=1}^{\infty} \frac{1}{n^2}", r"\frac{\pi^2}{6}").correct
    assert equal(r"\int_0^1 x^2 dx", r"\frac{1}{2}").value == "incorrect"


def test_a_worker_over_its_limit_is_killed_and_replaced() -> None:
    worker = Worker("sympy")
    hard = read(r"\int_0^1 e^{x^3} \sin(x^x) dx - 1")
    try:
        with pytest.raises(WorkerFailure, match="time-out"):
            worker.call(("zero", hard), 0.05)
        assert worker.call(("zero", read("x-x+0")), 60.0) is True
    finally:
        worker.stop()


def test_a_request_that_fails_names_its_error_and_the_worker_lives() -> None:
    worker = Worker("sympy")
    try:
        with pytest.raises(WorkerFailure, match="Error"):
            worker.call(("zero", Node("nonsense")), 60.0)
        assert worker.call(("zero", read("1-1")), 60.0) is True
    finally:
        worker.stop()


@pytest.mark.parametrize("text", ["x^{101}", "10^{50}!", r"\sin(2^{2^{2^2}})", "f(x)"])
def test_what_is_too_large_never_reaches_sympy(text: str) -> None:
    assert is_zero(read(text)).reason == "too large or no scalar: not evaluated"


def test_plain_answers_start_no_process_and_import_neither_sympy_nor_mpmath() -> None:
    script = (
        "import sys\n"
        "def no_process(event, args): assert event not in ('subprocess.Popen', 'os.fork', 'os.posix_spawn'), event\n"
        "sys.addaudithook(no_process)\n"
        "from stepmark.grading import equal, extract, classes\n"
        "assert equal('1,080', extract('so \\\\boxed{1080} dollars')).correct\n"
        "assert not equal('18', '$19.50').correct and equal('1/2', '0.5').correct\n"
        "classes(['1', '2', '1.0', '3/4'])\n"
        "assert not {'sympy', 'mpmath', 'torch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_batch_over_processes_has_the_verdicts_of_one_in_their_order() -> None:
    problems = [Problem(str(i), "?", str(i % 7), "test") for i in range(450)]
    answers = [str(i % 5) if i % 11 else None for i in range(450)]
    pairs = list(zip(problems, answers, strict=True))
    batch = grade_all(pairs, workers=2)
    assert [one.verdict for one in batch] == [grade(problem, answer) for problem, answer in pairs]
    assert all(one.seconds >= 0 for one in batch)


def test_texts_are_read_and_a_guess_says_so() -> None:
    problem = Problem("p", "?", "so it is 1+1\n#### 2", "test")
    marked, guessed, none = grade_all(
        [(problem, r"\boxed{2}"), (problem, "We end with 2 apples then."), (problem, None)], texts=True
    )
    assert marked.verdict.correct
    assert guessed.verdict.correct
    assert "the answer was guessed" in guessed.verdict.reason
    assert none.verdict.reason == "no answer"
