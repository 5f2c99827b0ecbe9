"""`stepmark solve`: what is shown is what the search did."""

import asyncio
import signal

import pytest
from rich.console import Console

from stepmark.cli import main
from stepmark.cli.watch import Watch, drawn
from stepmark.policies import bundled
from stepmark.policies.base import ScriptedPolicy
from stepmark.problems import quantities
from stepmark.search.strategies import STRATEGIES
from tests.search.test_strategies import ALL, PROBLEM, SMALL, Counted, Scored

[PROBLEM_OF_TWO] = quantities.generate("test", 1, levels=(2,))


def text(picture):
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        console.print(picture)
    return captured.get()


@ALL
def test_a_watched_search_is_the_same_search_and_its_tree_shows_every_step(name):
    strategy = STRATEGIES[name.split()[0]][0]
    watch = Watch(Counted(), Scored())
    result = asyncio.run(strategy(PROBLEM, watch, watch, SMALL[name]))
    assert result == asyncio.run(strategy(PROBLEM, Counted(), Scored(), SMALL[name]))
    assert watch.generated == result.cost.generated
    shown = text(drawn(result))
    for node in result.nodes:
        assert all(step in shown for step in node.steps)
    assert shown.count("the answer") == 1
    copies = sum(int(line.split("×")[1].split()[0]) - 1 for line in shown.splitlines() if "×" in line)
    assert copies == sum(node.fate == "duplicate" for node in result.nodes)
    assert result.solution[-1] in text(watch)


def test_every_first_step_is_shown_or_counted_as_given_up():
    watch = Watch(Counted(), Scored())
    result = asyncio.run(STRATEGIES["beam"][0](PROBLEM, watch, watch, SMALL["beam"]))
    first = {node.steps[0] for node in result.nodes if node.parent is None}
    lines = text(watch).splitlines()
    top = [line for line in lines if line.startswith(("├", "└"))]
    [told] = [line for line in top if "given up, the best scored" in line]
    assert len(top) - 1 + int(told.split()[1]) == len(first)


@pytest.fixture
def scripted(monkeypatch):
    policy = ScriptedPolicy.replies(["Answer: 2\n"])
    policy.close = lambda: None
    monkeypatch.setattr(bundled, "load", lambda **_: policy)


def test_an_answer_comes_with_its_cost(scripted, capsys):
    assert main(["solve", PROBLEM_OF_TWO.question]) == 0
    out = capsys.readouterr().out
    assert "answer: 2" in out
    assert "tokens generated" in out
    assert "FLOPs" in out


def test_a_strategy_that_reads_scores_says_that_it_needs_a_reward_model(scripted, capsys):
    assert main(["solve", "1 + 1?", "--strategy", "beam"]) == 2
    assert "needs a reward model" in capsys.readouterr().err


def test_the_oracle_judges_a_question_of_quantities_and_no_other(scripted, capsys):
    assert main(["solve", PROBLEM_OF_TWO.question, "--strategy", "beam", "--reward", "oracle"]) == 0
    assert main(["solve", "1 + 1?", "--strategy", "beam", "--reward", "oracle"]) == 2
    assert "Quantities problems alone" in capsys.readouterr().err


def test_an_interrupt_ends_it_and_shows_how_far_it_came(monkeypatch, capsys):
    """As Ctrl-C does: the signal comes while the third sample is awaited."""

    class Interrupted(ScriptedPolicy):
        async def sample(self, prefix, n, sampling):
            if len(self.calls) == 2:
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(60)
            return await super().sample(prefix, n, sampling)

        def close(self):
            self.calls.append("closed")

    policy = Interrupted.replies(["Answer: 2\n", "Answer: 3\n"])
    monkeypatch.setattr(bundled, "load", lambda **_: policy)
    assert main(["solve", PROBLEM_OF_TWO.question, "--confidence", "1"]) == 130
    out = capsys.readouterr().out
    assert "Answer: 2 ×2" in out
    assert "interrupted" in out
    assert policy.calls[-1] == "closed"
