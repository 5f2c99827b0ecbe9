"""A plan that is followed: the look is paid for, used where it can be, and decides."""

import asyncio
from dataclasses import asdict, replace
from statistics import fmean

import pytest

from stepmark.budget.flops import ModelSize
from stepmark.budget.plan import Arm, Expected, Plan, read_plan, write_plan
from stepmark.errors import InputError, RecordError
from stepmark.search.account import Budget, Models
from stepmark.search.auto import Auto, auto
from stepmark.search.beam import Beam, beam
from stepmark.search.parallel import Parallel, parallel
from stepmark.search.revise import Revise
from stepmark.search.simulated import SimulatedPolicy, SimulatedReward, straight
from stepmark.types import Cost, Problem

EASY, HARD = straight(0.95, 2), straight(0.3, 2)
SIZE = ModelSize(body=100, head=10, layers=2, width=8)
MODELS = Models(SIZE, SIZE, ratio=2.0, template=8)


def named(settings):
    return {name: value for name, value in asdict(settings).items() if name not in ("budget", "models", "seed")}


def plan(easy, hard, **fields):
    """Problems whose four solutions score .6 or more on average are easy; budgets of 4 and 16 generations."""
    arms = (*((type(one).__name__.lower(), one) for one in (Parallel(n=2), easy, hard)),)
    made = Plan(
        measure="predicted",
        samples=4,
        probe=named(Parallel()),
        counted=True,
        unit="generations",
        edges=(0.6,),
        budgets=(4, 16),
        arms=tuple(Arm(name, named(one)) for name, one in arms),
        choices=((0, 1), (0, 2)),
        expected=(Expected(0.5, 0.4, 0.6, 4), Expected(0.6, 0.5, 0.7, 16)),
        policy={"name": "simulated"},
        reward={"name": "simulated"},
        runs={},
        problems=0,
    )
    return replace(made, **fields)


PLAN = plan(Parallel(n=16, choose="weighted"), Beam(n=8, m=4))


def run(settings, chain, search=auto, problems=20):
    policy, reward = SimulatedPolicy(chain), SimulatedReward(chain)

    async def every():
        asked = (Problem(str(i), "where to?", "1", "simulated") for i in range(problems))
        return await asyncio.gather(*(search(one, policy, reward, settings) for one in asked))

    return asyncio.run(every())


def looked(result):
    """The mean score of the four solutions of the look."""
    return fmean(node.value for node in result.nodes[:4])


def test_the_look_decides_by_the_mean_score_of_its_solutions():
    for chain in (EASY, HARD):
        for result in run(Auto(plan=PLAN, within=16), chain):
            beams = any(node.parent is not None for node in result.nodes)
            assert beams == (looked(result) < 0.6)
            assert result.strategy == "auto"


def test_where_the_plan_draws_the_same_solutions_the_look_is_part_of_them():
    """What is paid is what the strategy alone costs. The first four solutions are the same; the others are a request of
    their own, and have another seed."""
    for result, alone in zip(
        run(Auto(plan=PLAN, within=16), EASY),
        run(Parallel(n=16, choose="weighted"), EASY, parallel),
        strict=True,
    ):
        if looked(result) >= 0.6:
            assert len(result.nodes) == result.generations == 16
            assert [node.steps for node in result.nodes[:4]] == [node.steps for node in alone.nodes[:4]]
            assert {node.fate for node in result.nodes} == {"finished", "chosen"}


def test_otherwise_the_look_is_paid_on_top_and_is_no_candidate():
    for result in run(Auto(plan=PLAN, within=16, models=MODELS), HARD):
        if looked(result) < 0.6:
            assert {node.fate for node in result.nodes[:4]} == {"rollout"}
            assert result.generations == 4 + 8
            assert result.chosen is None or result.chosen >= 4
            assert result.cost == Cost.total(node.cost for node in result.nodes)
            assert result.scoring == Cost.total(node.scoring for node in result.nodes)
            for node in result.nodes[4:]:
                assert node.parent is None or node.parent >= 4
            assert all(result.path(i)[-1] == node.steps[-1] for i, node in enumerate(result.nodes) if node.steps)


def test_the_strategy_after_the_look_is_the_strategy():
    """The same accuracy as the beam alone, within the spread of 60 problems: it draws with another seed."""
    always = plan(Beam(n=8, m=4), Beam(n=8, m=4))
    results, alone = run(Auto(plan=always, within=20), HARD, problems=60), run(Beam(n=8, m=4), HARD, beam, problems=60)
    right = [fmean(one.answer == "1" for one in found) for found in (results, alone)]
    assert right[0] == pytest.approx(right[1], abs=0.25)
    assert {node.steps for node in results[0].nodes[4:]}.isdisjoint(node.steps for node in alone[0].nodes[:8])


@pytest.mark.parametrize("hard", [Beam(n=8, m=4), Revise(n=8, chains=2), Parallel(n=12, temperature=1.0)])
@pytest.mark.parametrize("unit", ["generations", "tokens", "flops"])
def test_no_budget_is_exceeded_by_look_and_strategy_together(hard, unit):
    settings = Auto(plan=plan(Parallel(n=16), hard), within=16, models=MODELS)
    for free in run(settings, HARD, problems=2):
        spent = {"generations": free.generations, "tokens": free.cost.generated, "flops": free.flops.total}
        for share in (0.02, 0.3, 0.6, 0.9):
            limit = max(1, int(share * spent[unit]))
            for bound in run(replace(settings, budget=Budget(**{unit: limit})), HARD, problems=2):
                used = {"generations": bound.generations, "tokens": bound.cost.generated, "flops": bound.flops.total}
                assert used[unit] <= limit
        assert (
            run(replace(settings, budget=Budget(**{unit: 10**9 * spent[unit]})), HARD, problems=2)[0]
            == run(settings, HARD, problems=2)[0]
        )


def test_the_generations_of_both_are_counted_at_one_depth():
    """Four solutions of three steps beside a search of eight steps at each depth."""
    [result] = run(Auto(plan=plan(Beam(n=8, m=4), Beam(n=8, m=4)), within=16), EASY, problems=1)
    at = [0, 0, 0]
    for i, node in enumerate(result.nodes):
        for depth in range(len(result.path(i)) - len(node.steps), len(result.path(i))):
            at[depth] += 1
    assert result.generations == max(at)


def test_a_small_budget_takes_the_plan_s_choice_for_it():
    for result in run(Auto(plan=PLAN, within=15), EASY, problems=3):
        assert result.generations == 6  # two more, from another seed than the look's: too few to hold it
    with pytest.raises(InputError, match="smallest is 4"):
        Auto(plan=PLAN, within=3)


def test_a_problem_without_any_finished_solution_is_hard():
    """All are cut; nothing is scored, and nothing is easy about that."""
    cut = replace(PLAN, probe=named(Parallel(max_tokens=10)))
    for result in run(Auto(plan=cut, within=16), EASY, problems=3):
        assert all(node.finish == "length" for node in result.nodes[:4])
        assert any(node.parent is not None for node in result.nodes)


def test_a_plan_that_needs_the_answers_is_not_followed():
    with pytest.raises(InputError, match="needs the answers"):
        Auto(plan=replace(PLAN, measure="oracle"), within=16)


@pytest.mark.parametrize("arm", [Arm("beams", {}), Arm("beam", {"n": "many"}), Arm("beam", {"n": 2, "m": 4})])
def test_a_plan_of_no_strategy_is_refused(arm):
    with pytest.raises(InputError):
        Auto(plan=replace(PLAN, arms=(PLAN.arms[0], arm, arm)), within=16)


def test_a_plan_is_read_as_it_was_written(tmp_path):
    write_plan(tmp_path / "plan.json", PLAN)
    assert read_plan(tmp_path / "plan.json") == PLAN


@pytest.mark.parametrize(
    "broken",
    [
        replace(PLAN, choices=((0, 1),)),
        replace(PLAN, choices=((0, 1), (0,))),
        replace(PLAN, choices=((0, 1), (0, 3))),
        replace(PLAN, budgets=(16, 4)),
        replace(PLAN, edges=(0.6, 0.1), choices=((0, 1),) * 3),
    ],
)
def test_a_broken_plan_is_refused(tmp_path, broken):
    write_plan(tmp_path / "plan.json", broken)
    with pytest.raises(RecordError, match="do not fit"):
        read_plan(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(RecordError, match="no plan"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(RecordError, match="cannot be read"):
        read_plan(tmp_path)
