"""`stepmark evaluate processbench` `prmbench` and `steps`: step scores against labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from stepmark.cli.models import ReadAs, reward_path
from stepmark.errors import InputError
from stepmark.evaluate.scores import Trivial
from stepmark.formats.convert import Format
from stepmark.rewards.aggregate import Aggregation

if TYPE_CHECKING:
    from stepmark.evaluate.intervals import Bootstrap, Figure
    from stepmark.evaluate.measures import Measures
    from stepmark.evaluate.prmbench import PRMBench
    from stepmark.evaluate.scores import Scores
    from stepmark.evaluate.sensitivity import Change, Drop, Probe
    from stepmark.formats.labelled import Lost
    from stepmark.report import Report
    from stepmark.rewards.base import RewardModel
    from stepmark.types import LabelledSolution


UNSCORED = "could not be scored (too long, a blank step or a special token in the text)"


@dataclass(frozen=True)
class Judged:
    """What the three verbs share: the data, where step scores come from, and where the figures go."""

    data: Path
    """JSON lines, plain or .gz"""
    scores: Path | None = None
    """step scores: lines with row, counted from 0, and step_scores (null: it could not be scored)"""
    reward: Path | None = None
    """directory of a reward model: one that `stepmark train` wrote, or a published one; bundled: the one that comes
    with stepmark, for Quantities problems"""
    read_as: Annotated[ReadAs, tyro.conf.arg(name="")] = field(default_factory=ReadAs)
    trivial: Trivial | None = None
    """a predictor that reads nothing, to compare with"""
    threshold: float | None = None
    """a step scored below it is taken as wrong; by default .5 of probabilities, 0 of scores from -1 to 1"""
    save_scores: Path | None = None
    """write the step scores to this file, which --scores reads"""
    json: Path | None = None
    """write all figures to this file"""
    html: Path | None = None
    """write a report with pictures to this directory"""
    resamples: int = 10_000
    """bootstrap resamples of the problems"""
    seed: int = 0
    """of the resamples, and of --trivial random"""

    @property
    def by(self) -> str:
        return f"scores by {self.scores or self.reward or self.trivial}"

    def check(self) -> Bootstrap:
        """How intervals are found, where the options fit together."""
        from stepmark.evaluate.intervals import Bootstrap

        if sum(given is not None for given in (self.scores, self.reward, self.trivial)) != 1:
            raise InputError("scores come from one place", remedy="give one of --scores, --reward and --trivial")
        if self.resamples < 1:
            raise InputError("too few resamples", remedy="take at least 1")
        for file in (self.json, self.save_scores):
            if file is not None and not file.parent.is_dir():
                raise InputError("its folder does not exist", path=file, remedy="make the folder first")
        return Bootstrap(resamples=self.resamples, seed=self.seed)

    def below(self) -> float:
        """The threshold, where nothing tunes it."""
        if self.threshold is not None:
            return self.threshold
        said = None if self.reward is None else self.read_as.describe(reward_path(self.reward))
        threshold = 0.5 if said is None else said.threshold
        if threshold is None:
            raise InputError(
                "the scores of this reward model are no probabilities: no threshold follows from them",
                remedy="give --threshold, or for ProcessBench --tune-data",
            )
        return threshold

    def score(self, solutions: Sequence[LabelledSolution], file: Path | None) -> Scores:
        """The step scores of solutions, which `file` has where scores come from files."""
        from stepmark.evaluate.scores import read_scores, score, trivial

        if file is not None:
            return read_scores(file, solutions)
        if self.trivial is not None:
            return trivial(self.trivial, solutions, self.seed)

        import asyncio

        assert self.reward is not None
        return asyncio.run(score(_reward(self.reward, self.read_as), solutions))

    def keep(self, scores: Scores) -> None:
        from stepmark.evaluate.scores import write_scores

        if self.save_scores is not None:
            write_scores(self.save_scores, scores)

    def write(self, figures: dict[str, Any]) -> None:
        if self.json is not None:
            write_figures(self.json, {"data": str(self.data), "by": self.by, **figures})

    def show(self, report: Report) -> None:
        from stepmark.report import write

        assert self.html is not None
        print(f"the report is {write(report, self.html)}")


@dataclass(frozen=True)
class Processbench(Judged):
    """Does the first step scored below the threshold turn out to be the first wrong one? ProcessBench's accuracies and
    F1 on one of its files, with 95 % intervals over problems.

    Scores come from a file (`--scores`), from a reward model (`--reward`), or from a predictor that does not read
    (`--trivial`). The threshold is given, or tuned on another subset, as the paper tunes on GSM8K; on the same file it
    would flatter.
    """

    tune_data: Path | None = None
    """choose the threshold on this file instead"""
    tune_scores: Path | None = None
    """step scores of its rows, where --scores are given"""

    def run(self) -> int:
        from stepmark.evaluate.processbench import evaluate, tune
        from stepmark.formats import processbench
        from stepmark.formats.labelled import Lost

        bootstrap = self.check()
        if (self.scores is None) != (self.tune_scores is None) and self.tune_data is not None:
            raise InputError("--tune-scores are of --tune-data", remedy="give scores for both files")
        if self.threshold is not None and self.tune_data is not None:
            raise InputError("--threshold is given and --tune-data would choose it", remedy="give one of them")
        lost = Lost()
        solutions = list(processbench.read(self.data, lost))
        if self.tune_data is not None:
            if self.tune_data.resolve() == self.data.resolve():
                raise InputError("tuned on the file that is measured", path=self.data, remedy="tune on another subset")
            others = list(processbench.read(self.tune_data, Lost()))
            threshold, said = tune(others, self.score(others, self.tune_scores)), f"tuned on {self.tune_data.name}"
        else:
            threshold, said = self.below(), "given" if self.threshold is not None else "that of such scores"
        scores = self.score(solutions, self.scores)
        self.keep(scores)
        result = evaluate(solutions, scores, threshold, bootstrap)
        print(f"{self.data.name}: {result.erroneous} solutions with a wrong step, {result.correct} without; {self.by}")
        for name, title in (("erroneous", "error accuracy"), ("correct", "correct accuracy"), ("f1", "F1")):
            value, low, high = (100 * getattr(one, name) for one in (result.value, result.low, result.high))
            print(f"  {title:17} {value:5.1f}  [{low:.1f}, {high:.1f}]")
        print(f"  threshold {threshold:.6g}, {said}")
        if result.unscored:
            print(f"  {result.unscored} solutions {UNSCORED} and count as missed")
        _print_lost(lost)
        self.write({"threshold_is": said, "lost": dict(lost), **asdict(result)})
        if self.html is not None:
            from stepmark.report.benchmarks import processbench_report

            self.show(processbench_report(result, said, self.by, {"data": str(self.data)}))
        return 0


@dataclass(frozen=True)
class Prmbench(Judged):
    """Are wrong steps of named kinds told from right ones? PRMBench's PRMScore and its parts, per class and group, with
    95 % intervals over the original solutions.

    Scores come from a file (`--scores`), from a reward model (`--reward`), or from a predictor that does not read
    (`--trivial`). Similarity is the mean distance between a solution and its untouched original in the share of steps
    that are taken as right: 0 where the model sees no difference.
    """

    untouched_scores: Path | None = None
    """step scores of the untouched originals of the rows of class redundency, in their order, for the similarity, where
    --scores are given"""
    redundancy_scores: Path | None = None
    """how redundant each step is, of a model that says it apart, as ReasonEval: judges the classes redundency and
    circular"""
    redundancy_threshold: float = 0.15
    """a step scored above it there is taken as redundant (ReasonEval's is .15)"""

    def run(self) -> int:
        from stepmark.evaluate.prmbench import evaluate, untouched
        from stepmark.evaluate.scores import read_scores
        from stepmark.formats import prmbench
        from stepmark.formats.labelled import Lost

        bootstrap = self.check()
        lost = Lost()
        solutions = list(prmbench.read(self.data, lost))
        with_originals = self.scores is None or self.untouched_scores is not None
        redundancy = None if self.redundancy_scores is None else read_scores(self.redundancy_scores, solutions)
        threshold, scores = self.below(), self.score(solutions, self.scores)
        self.keep(scores)
        result = evaluate(
            solutions,
            scores,
            threshold,
            bootstrap,
            originals=self.score(untouched(solutions), self.untouched_scores) if with_originals else (),
            redundancy=redundancy,
            redundancy_threshold=self.redundancy_threshold,
        )
        print(f"{self.data.name}: {result.overall.solutions} solutions, threshold {threshold:g}; {self.by}")
        _print_prmbench(result)
        _print_lost(lost)
        self.write({"lost": dict(lost), **asdict(result)})
        if self.html is not None:
            from stepmark.report.benchmarks import prmbench_report

            self.show(prmbench_report(result, self.by, {"data": str(self.data)}))
        return 0


@dataclass(frozen=True)
class Steps(Judged):
    """Everything that labelled solutions tell of step scores: AUC, over all steps and within each problem; calibration;
    F1 and distance of the first error; the share of solutions whose lowest score is the last; score against position
    and length; with --reward, how far a right step's score falls when a number, sign or name in it is changed; with
    --pool, the gain of choosing by the scores over majority vote. All with 95 % intervals over problems.
    """

    format: Format = "labelled"
    """of the data, as in `stepmark convert`"""
    resamples: int = 1000
    """bootstrap resamples of the problems"""
    probes: int = 200
    """solutions that are changed in one place, for the sensitivity of each kind (--reward)"""
    pool: Path | None = None
    """candidate pool, or a run of `stepmark sample`: the gain of best-of-n and of a weighted vote over majority"""
    pool_scores: Path | None = None
    """step scores of its candidates, where they do not come from --reward: as in `stepmark evaluate pool` a file, or a
    run of `stepmark score`"""
    aggregate: Aggregation | None = None
    """how step scores become the score of a candidate of the pool; by default as the reward model's directory or its
    authors say, where they are known, else last"""

    def run(self) -> int:
        from stepmark.evaluate.measures import measure
        from stepmark.formats.convert import FORMATS
        from stepmark.formats.labelled import Lost

        bootstrap = self.check()
        if self.pool is not None and (self.reward is None) == (self.pool_scores is None):
            raise InputError("the pool's scores come from one place", remedy="give --pool-scores or --reward")
        lost, threshold = Lost(), self.below()
        solutions = list(FORMATS[self.format][0](self.data, lost))
        scores = self.score(solutions, self.scores)
        self.keep(scores)
        found = measure(solutions, scores, threshold, bootstrap=bootstrap)
        facts = _facts(found, threshold)
        drops = self._drops(solutions, scores, bootstrap) if self.reward is not None else {}
        for kind, (count, fall) in drops.items():
            facts[f"fall of a right step when a {kind} is changed"] = f"{_known(fall)}, mean of {count}"
        gains = self._gains(lost, bootstrap) if self.pool is not None else []
        for gain in gains:
            name = f"{gain['method'].replace('_', '-')} of {gain['n']} minus majority ({gain['aggregate']})"
            facts[name] = f"{gain['difference']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
        print(f"{self.data.name}: {self.by}")
        for name, value in facts.items():
            print(f"  {name:48} {value}")
        _print_lost(lost)
        falls = {kind: {"probes": count, "fall": asdict(fall)} for kind, (count, fall) in drops.items()}
        self.write({"lost": dict(lost), **asdict(found), "sensitivity": falls, "gain_over_majority": gains})
        if self.html is not None:
            from stepmark.report.steps import steps_report

            provenance = {"data": str(self.data), "scores": self.by, "threshold": f"{threshold:g}"}
            self.show(steps_report(found, facts, provenance))
        return 0

    def _gains(self, lost: Lost, bootstrap: Bootstrap) -> list[dict[str, Any]]:
        from stepmark.evaluate.gain import gain_over_majority
        from stepmark.formats import candidates, runs
        from stepmark.formats.candidates import as_labelled

        assert self.pool is not None
        pool = (runs if self.pool.is_dir() else candidates).read_candidates(self.pool)
        how: Aggregation
        if self.pool_scores is not None:
            known = self.pool_scores.is_dir()
            how = runs.read_aggregate(self.pool_scores) if known else "last"
            read = (runs if known else candidates).read_step_scores
            steps: Sequence[Sequence[Sequence[float] | None]] = read(self.pool_scores, pool)
        else:
            assert self.reward is not None
            how = self.read_as.describe(reward_path(self.reward)).aggregate
            scores = iter(self.score([one for problem in pool for one in as_labelled(problem)], None))
            steps = [[next(scores) for _ in problem.candidates] for problem in pool]
            if unscored := sum(one is None for row in steps for one in row):
                lost[f"candidates of the pool {UNSCORED}: they vote, and are never the best"] += unscored
        return [asdict(one) for one in gain_over_majority(pool, steps, self.aggregate or how, bootstrap)]

    def _drops(
        self, solutions: Sequence[LabelledSolution], scores: Scores, bootstrap: Bootstrap
    ) -> dict[Change, tuple[int, Figure]]:
        """Of each kind of change: how many probes there are, of scored solutions in an order by chance, and how far the
        score falls on average."""
        import asyncio
        import random

        from stepmark.evaluate.sensitivity import KINDS, drop, fall, probe
        from stepmark.rewards.assemble import from_labels

        assert self.reward is not None
        reward = _reward(self.reward, self.read_as)
        scored = [one for one, found in zip(solutions, scores, strict=True) if found is not None]
        random.Random(self.seed).shuffle(scored)
        drops = {}
        for kind in KINDS:
            probes = [
                found
                for one in scored
                for rated in [[target is not None and target > 0 for target in from_labels(one.labels)]]
                if (found := probe(one.problem, one.solution.steps, rated, self.seed, kind))
            ][: self.probes]

            async def run(probes: Sequence[Probe] = probes) -> list[Drop]:
                return await asyncio.gather(*(drop(reward, one) for one in probes))

            if probes:
                drops[kind] = (len(probes), fall(asyncio.run(run()), bootstrap))
        return drops


def _print_prmbench(result: PRMBench) -> None:
    columns = ("score", "f1", "negative_f1", "accuracy", "right_accuracy", "wrong_accuracy", "first_error")
    titles = ("score", "F1", "neg.F1", "acc.", "right", "wrong", "first", "similarity")
    print(f"  {'':20} {'steps':>6} {'wrong':>6} {'95 %':>13} " + " ".join(f"{title:>6}" for title in titles))
    for name, one in [("all", result.overall), *result.classes.items()]:
        figures = " ".join(_percent(getattr(one, column)) for column in (*columns, "similarity"))
        print(f"  {name:20} {one.steps:6} {one.wrong:6} {_bounds(one.score):>13} {figures}")
    for name, score in result.groups.items():
        print(f"  {name:20} {'':6} {'':6} {_bounds(score):>13} {_percent(score)}")
    if result.unscored:
        print(f"  {result.unscored} solutions {UNSCORED} and are left out")
    if result.repeated:
        print(f"  {result.repeated} solutions were in their class before and are left out")


def _facts(found: Measures, threshold: float) -> dict[str, str]:
    facts = {
        "whole solutions": f"{found.solutions:,}",
        "prefixes": f"{found.prefixes:,}",
        "left out": f"{found.unscored} that {UNSCORED}; {found.aborted} given up",
        "rated steps, share right": f"{found.steps:,}, {_known(found.right)}",
        "AUC over all steps": _known(found.auc),
        "AUC within a problem": _known(found.within_problem_auc),
        "calibration error": _known(found.calibration_error),
        f"first error, F1 at {threshold:g}": _known(found.first_error),
        "lowest score is the last": _known(found.lowest_last),
        "lowest score is the last, by chance": _known(found.lowest_last_by_chance),
        "rank correlation of lowest score and length": _known(found.length_correlation),
    }
    if found.erroneous is not None:
        facts |= {
            "first error named exactly": _known(found.erroneous),
            "an earlier step named": _known(found.early),
            "a later step named": _known(found.late),
            "no step named": _known(found.missed),
            "mean distance in steps, where one is named": _known(found.distance),
        }
    return facts


def _known(one: Figure | None) -> str:
    return "unknown" if one is None else f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def _percent(one: Figure | None) -> str:
    return "     -" if one is None else f"{100 * one.value:6.1f}"


def _bounds(one: Figure | None) -> str:
    return "" if one is None else f"{100 * one.low:.1f} - {100 * one.high:.1f}"


def write_figures(path: Path, figures: dict[str, Any]) -> None:
    """The whole file, or none."""
    import json

    from stepmark.records import replacing

    with replacing(path) as file:
        file.write(json.dumps(figures, indent=1, allow_nan=False).encode() + b"\n")


def _print_lost(lost: Lost) -> None:
    for what, count in sorted(lost.items()):
        print(f"  {count} {what}")


@cache
def _reward(reward: Path, read_as: ReadAs) -> RewardModel:
    """The reward model, read once for all that the verb asks of it; it ends with the process."""
    return read_as.load(reward_path(reward))
