"""The figures of all strategies, with a policy that revises among them."""

import json
from pathlib import Path

import pytest

from recipes.search_figures import SearchFigures, main
from recipes.search_findings import CHAIN, CHAINS, SIDE_BY_SIDE, VOTED, WEIGHTED
from stepmark.cli.models import RewardOptions
from stepmark.policies import bundled


@pytest.fixture(scope="module")
def args(tmp_path_factory: pytest.TempPathFactory) -> SearchFigures:
    """The bundled policy in the place of one that revises."""
    args = SearchFigures(
        tmp_path_factory.mktemp("figures"),
        RewardOptions(reward="noisy"),
        revision=bundled.PATH,
        problems=3,
        budgets="4",
        seeds=1,
        strategies="beam",
    )
    main(args)
    return args


def figures(args: SearchFigures) -> dict[tuple[str, int], dict[str, object]]:
    said = json.loads((args.out / "figures.json").read_text())
    return {(one["strategy"], one["budget"]): one for one in said["points"]}


def test_attempts_side_by_side_by_the_same_policy_are_best_of_n(args: SearchFigures):
    """But for what a new model in memory has cached."""
    points = figures(args)
    one, other = points[SIDE_BY_SIDE, 4], points[WEIGHTED, 4]
    assert {**one, "strategy": "", "flops": 0} == {**other, "strategy": "", "flops": 0}


def test_all_splits_and_choices_have_their_points(args: SearchFigures):
    points = figures(args)
    assert {(name, 4) for name in (CHAIN, CHAINS, SIDE_BY_SIDE, *VOTED.values())} <= points.keys()
    assert points[CHAIN, 4]["tokens"] == points[VOTED[CHAIN], 4]["tokens"]


def test_the_paper_s_findings_on_revision_are_among_the_others(args: SearchFigures):
    measured = [one["measured"] for one in json.loads((args.out / "figures.json").read_text())["findings"]]
    assert f"{CHAIN} - {SIDE_BY_SIDE} at 4" in measured
    assert f"{CHAINS} - {CHAIN} at 4, bins 4-5" in measured


def test_figures_of_what_is_on_record_are_the_same(args: SearchFigures):
    names = ["figures.json", "report.html"]
    before = [(args.out / name).read_bytes() for name in names]
    runs = {path: path.stat().st_mtime_ns for path in Path(args.out).glob("*/searches.jsonl.gz")}
    main(args)
    assert [(args.out / name).read_bytes() for name in names] == before
    assert {path: path.stat().st_mtime_ns for path in runs} == runs
