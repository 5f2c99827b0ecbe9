"""`stepmark evaluate processbench` `prmbench` and `steps`: step scores against labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepmark.errors import InputError
from stepmark.evaluate.scores import Trivial
from stepmark.formats.convert import Format

if TYPE_CHECKING:
    from stepmark.evaluate.measures import Measures
    from stepmark.evaluate.scores import Scores
    from stepmark.evaluate.sensitivity import Change, Drop, Probe
    from stepmark.rewards.families.outcome import OutcomeReward
    from stepmark.rewards.local import LocalReward
    from stepmark.types import LabelledSolution


@dataclass(frozen=True)
class Processbench:
    """Does the first step scored below the threshold turn out to be the first wrong one? ProcessBench's accuracies and
    F1 on one of its files, with 95 % intervals over problems.

    Scores come from a file (`--scores`: lines with row, counted from 0, and step_scores), from a reward model
    (`--reward`), or from a predictor that does not read (`--trivial`). The threshold is given, or tuned on another
    subset, as the paper tunes on GSM8K; on the same file it would flatter.
    """

    data: Path
    """ProcessBench's JSON lines, plain or .gz"""
    scores: Path | None = None
    """step scores of those rows"""
    reward: Path | None = None
    """directory of a reward model: one that `stepmark train` wrote, or a published one"""
    family: str | None = None
    """how a published model is read, where its files do not tell it (see `stepmark score --help`)"""
    trivial: Trivial | None = None
    """a predictor that reads nothing, to compare with"""
    threshold: float = 0.5
    """a step scored below it is taken as wrong"""
    tune_data: Path | None = None
    """choose the threshold on this file instead"""
    tune_scores: Path | None = None
    """step scores of its rows, where --scores are given"""
    json: Path | None = None
    """write all figures to this file"""
    resamples: int = 10_000
    """bootstrap resamples of the problems"""
    seed: int = 0
    """of the resamples, and of --trivial random"""

    def run(self) -> int:
        from stepmark.evaluate.intervals import Bootstrap
        from stepmark.evaluate.processbench import evaluate, tune
        from stepmark.formats import processbench
        from stepmark.formats.labelled import Lost

        _check(self)
        if (self.scores is None) != (self.tune_scores is None) and self.tune_data is not None:
            raise InputError("--tune-scores are of --tune-data", remedy="give scores for both files")
        solutions = list(processbench.read(self.data, Lost()))
        threshold, said = self.threshold, "given"
        if self.tune_data is not None:
            if self.tune_data.resolve() == self.data.resolve():
                raise InputError("tuned on the file that is measured", path=self.data, remedy="tune on another subset")
            others = list(processbench.read(self.tune_data, Lost()))
            threshold, said = tune(others, _scores(self, others, self.tune_scores)), f"tuned on {self.tune_data.name}"
        bootstrap = Bootstrap(resamples=self.resamples, seed=self.seed)
        result = evaluate(solutions, _scores(self, solutions, self.scores), threshold, bootstrap)
        print(
            f"{self.data.name}: {result.erroneous} solutions with a wrong step, {result.correct} without; {_by(self)}"
        )
        for name, title in (("erroneous", "error accuracy"), ("correct", "correct accuracy"), ("f1", "F1")):
            value, low, high = (100 * getattr(one, name) for one in (result.value, result.low, result.high))
            print(f"  {title:17} {value:5.1f}  [{low:.1f}, {high:.1f}]")
        print(f"  threshold {threshold:.6g}, {said}")
        if result.unscored:
            print(f"  {result.unscored} solutions could not be scored (too long, or a blank step) and count as missed")
        write_figures(self.json, {"data": str(self.data), "by": _by(self), "threshold_is": said, **asdict(result)})
        return 0


@dataclass(frozen=True)
class Prmbench:
    """Are wrong steps of named kinds told from right ones? PRMBench's PRMScore and its parts, per class and group, with
    95 % intervals over the original solutions.

    Scores come from a file (`--scores`: lines with row, counted from 0, and step_scores), from a reward model
    (`--reward`), or from a predictor that does not read (`--trivial`).
    """

    data: Path
    """PRMBench's JSON lines, plain or .gz"""
    scores: Path | None = None
    """step scores of those rows"""
    reward: Path | None = None
    """directory of a reward model: one that `stepmark train` wrote, or a published one"""
    family: str | None = None
    """how a published model is read, where its files do not tell it (see `stepmark score --help`)"""
    trivial: Trivial | None = None
    """a predictor that reads nothing, to compare with"""
    threshold: float = 0.5
    """a step scored below it is taken as wrong"""
    json: Path | None = None
    """write all figures to this file"""
    resamples: int = 10_000
    """bootstrap resamples"""
    seed: int = 0
    """of the resamples, and of --trivial random"""

    def run(self) -> int:
        from stepmark.evaluate.intervals import Bootstrap
        from stepmark.evaluate.prmbench import evaluate
        from stepmark.formats import prmbench
        from stepmark.formats.labelled import Lost

        _check(self)
        lost = Lost()
        solutions = list(prmbench.read(self.data, lost))
        bootstrap = Bootstrap(resamples=self.resamples, seed=self.seed)
        result = evaluate(solutions, _scores(self, solutions, self.scores), self.threshold, bootstrap)
        print(f"{self.data.name}: {result.overall.solutions} solutions, threshold {self.threshold:g}; {_by(self)}")
        print(
            f"  {'':20} {'steps':>6} {'wrong':>6} {'F1':>6} {'neg.F1':>6} {'score':>6} {'95 %':>13} {'acc.':>6} first"
        )
        for name, one in [("all", result.overall), *result.classes.items()]:
            bounds = "" if one.low is None or one.high is None else f"{100 * one.low:.1f} - {100 * one.high:.1f}"
            print(
                f"  {name:20} {one.steps:6} {one.wrong:6} {_percent(one.f1)} {_percent(one.negative_f1)} "
                f"{_percent(one.score)} {bounds:>13} {_percent(one.accuracy)} {_percent(one.first_error)}"
            )
        for name, score in result.groups.items():
            print(f"  {name:20} {'':6} {'':6} {'':6} {'':6} {_percent(score)}")
        for what, count in lost.items():
            print(f"  {count} {what}")
        if result.unscored:
            print(f"  {result.unscored} solutions could not be scored (too long, or a blank step) and are left out")
        write_figures(self.json, {"data": str(self.data), "by": _by(self), "lost": dict(lost), **asdict(result)})
        return 0


@dataclass(frozen=True)
class Steps:
    """Everything that labelled solutions tell of step scores: AUC, over all steps and within each problem; calibration;
    F1 and distance of the first error; the share of solutions whose lowest score is the last; score against position
    and length; with --reward, how far a right step's score falls when a number, sign or name in it is changed.
    """

    data: Path
    """labelled solutions, of the format --format"""
    format: Format = "labelled"
    """as in `stepmark convert`"""
    scores: Path | None = None
    """step scores: lines with row, counted from 0 (as `convert --to labelled` writes them), and step_scores"""
    reward: Path | None = None
    """directory of a reward model: one that `stepmark train` wrote, or a published one"""
    family: str | None = None
    """how a published model is read, where its files do not tell it (see `stepmark score --help`)"""
    trivial: Trivial | None = None
    """a predictor that reads nothing, to compare with"""
    threshold: float = 0.5
    """a step scored below it is taken as wrong"""
    probes: int = 200
    """solutions that are changed in one place, for the sensitivity of each kind (--reward)"""
    json: Path | None = None
    """write all figures to this file"""
    html: Path | None = None
    """write a report with pictures to this directory"""
    seed: int = 0
    """of the probes, and of --trivial random"""

    def run(self) -> int:
        from stepmark.evaluate.measures import measure
        from stepmark.formats.convert import FORMATS
        from stepmark.formats.labelled import Lost

        _check(self)
        solutions = list(FORMATS[self.format][0](self.data, Lost()))
        found = measure(solutions, _scores(self, solutions, self.scores), self.threshold)
        facts = _facts(found, self.threshold)
        drops = self._drops(solutions) if self.reward is not None else {}
        for kind, (count, mean) in drops.items():
            facts[f"fall of a right step when a {kind} is changed"] = f"{mean:.3f} (mean of {count})"
        print(f"{self.data.name}: {_by(self)}")
        for name, value in facts.items():
            print(f"  {name:48} {value}")
        write_figures(self.json, {"data": str(self.data), "by": _by(self), **asdict(found), "sensitivity": drops})
        if self.html is not None:
            from stepmark.report import write
            from stepmark.report.steps import steps_report

            provenance = {"data": str(self.data), "scores": _by(self), "threshold": f"{self.threshold:g}"}
            print(f"the report is {write(steps_report(found, facts, provenance), self.html)}")
        return 0

    def _drops(self, solutions: Sequence[LabelledSolution]) -> dict[Change, tuple[int, float]]:
        """Of each kind of change: how many probes there are, and how far the score falls on average."""
        import asyncio
        from statistics import fmean

        from stepmark.evaluate.sensitivity import KINDS, drop, probe

        assert self.reward is not None
        reward = _reward(self.reward, self.family)
        drops = {}
        for kind in KINDS:
            probes = [
                found
                for one in solutions
                for rated in [[rating is not None and rating > 0 for rating in one.labels.ratings]]
                if (found := probe(one.problem, one.solution.steps, rated, self.seed, kind))
            ][: self.probes]

            async def run(probes: Sequence[Probe] = probes) -> list[Drop]:
                return await asyncio.gather(*(drop(reward, one) for one in probes))

            if probes:
                drops[kind] = (len(probes), fmean(one.value for one in asyncio.run(run())))
        return drops


def _facts(found: Measures, threshold: float) -> dict[str, str]:
    def known(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.3f}"

    facts = {
        "solutions": f"{found.solutions:,} ({found.unscored} more could not be scored)",
        "rated steps, share right": f"{found.steps:,}, {found.right:.3f}",
        "AUC over all steps": known(found.auc),
        "AUC within a problem": known(found.within_problem_auc),
        "calibration error": known(found.calibration.error if found.calibration else None),
        f"first error, F1 at {threshold:g}": known(found.first_error.f1 if found.first_error else None),
        "lowest score is the last (by chance)": f"{found.lowest_last:.3f} ({found.lowest_last_by_chance:.3f})",
        "rank correlation of lowest score and length": known(found.length_correlation),
    }
    if found.distance is not None:
        d = found.distance
        facts["first error named exactly, early, late, never"] = (
            f"{d.exact:.3f}, {d.early:.3f}, {d.late:.3f}, {d.missed:.3f}"
        )
        facts["mean distance in steps, where one is named"] = known(d.steps)
    return facts


def write_figures(path: Path | None, figures: dict[str, Any]) -> None:
    """The whole file, or none."""
    import json

    from stepmark.records import replacing

    if path is not None:
        with replacing(path) as file:
            file.write(json.dumps(figures, indent=1, allow_nan=False).encode() + b"\n")


def _check(args: Processbench | Prmbench | Steps) -> None:
    if sum(given is not None for given in (args.scores, args.reward, args.trivial)) != 1:
        raise InputError("scores come from one place", remedy="give one of --scores, --reward and --trivial")
    if not isinstance(args, Steps) and args.resamples < 1:
        raise InputError("too few resamples", remedy="take at least 1")
    if args.json is not None and not args.json.parent.is_dir():
        raise InputError("its folder does not exist", path=args.json, remedy="make the folder first")


def _scores(args: Processbench | Prmbench | Steps, solutions: Sequence[LabelledSolution], file: Path | None) -> Scores:
    from stepmark.evaluate.scores import read_scores, score, trivial

    if file is not None:
        return read_scores(file, solutions)
    if args.trivial is not None:
        return trivial(args.trivial, solutions, args.seed)

    import asyncio

    assert args.reward is not None
    return asyncio.run(score(_reward(args.reward, args.family), solutions))


@cache
def _reward(path: Path, family: str | None) -> LocalReward | OutcomeReward:
    """The reward model, read once for all that the verb asks of it; it ends with the process."""
    from stepmark.rewards.families import load

    loaded = load(path, family)
    print(loaded.told)
    return loaded.reward


def _by(args: Processbench | Prmbench | Steps) -> str:
    return f"scores by {args.scores or args.reward or args.trivial}"


def _percent(value: float | None) -> str:
    return "     -" if value is None else f"{100 * value:6.1f}"
