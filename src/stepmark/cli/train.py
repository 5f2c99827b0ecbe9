"""`stepmark train`: a reward model from recorded solutions."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from stepmark.errors import InputError
from stepmark.rewards.examples import Kind
from stepmark.rewards.settings import Train as Settings

if TYPE_CHECKING:
    from stepmark.rewards.train import TrainResult
    from stepmark.types import StepLabels


@dataclass(frozen=True)
class Train:
    """Trains an outcome (orm) or a process reward model (prm) on recorded solutions.

    An ORM learns whether the grader accepts the answer, a PRM the ratings of the steps. The directory it writes holds
    all that scoring needs. Killed and called again, it goes on from its last checkpoint. On several GPUs: `accelerate
    launch --no_python stepmark train ...`; its config says whether they share the batches alone or spread the model
    (FSDP) too.
    """

    kind: tyro.conf.Positional[Kind]
    """which kind"""
    problems: Path
    """the problems: JSON lines with id, question and gold"""
    solutions: Path
    """record file of solutions; those that were cut are left out and counted"""
    base: Path
    """directory of the causal language model to start from, with its tokenizer"""
    out: Path
    """directory to write; it must not exist"""
    labels: Path | None = None
    """record file of step labels (prm)"""
    settings: Settings = field(default_factory=Settings)

    def run(self) -> int:
        if (self.labels is None) == (self.kind == "prm"):
            raise InputError(
                "a PRM needs step labels" if self.labels is None else "an ORM does not read step labels",
                remedy="give --labels with prm, and only there",
            )

        from stepmark import problems
        from stepmark.records import read
        from stepmark.rewards.assemble import assemble
        from stepmark.types import Solution, StepLabels

        labels = list(read(self.labels, StepLabels)) if self.labels else []
        data = assemble(
            self.kind,
            problems.read(self.problems, gold=self.kind == "orm"),
            read(self.solutions, Solution),
            labels,
            neutral="class" if self.settings.classes == 3 else self.settings.neutral,
        )

        from stepmark.evaluate.held_out import figures
        from stepmark.rewards.settings import first_process
        from stepmark.rewards.train import train

        how = self._settings(labels)
        measure = figures(how.aggregate if self.kind == "prm" else "last")
        result = train(self.kind, data.examples, self.base, self.out, how, measure=measure)
        if not first_process():
            return 0
        print(_summary(self.kind, result))
        if left_out := data.unfinished + data.unlabelled + result.dropped:
            print(
                f"left out: {left_out} solutions ({data.unfinished} unfinished, {data.unlabelled} not labelled, "
                f"{result.dropped} too long)"
            )
        return 0

    def _settings(self, labels: "list[StepLabels]") -> Settings:
        if self.settings.label_source != "unknown":
            return self.settings
        sources = sorted({label.source for label in labels}) or ["grader"]
        return replace(self.settings, label_source=", ".join(sources))


def _summary(kind: Kind, result: "TrainResult") -> str:
    def figure(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    counts = ", ".join(f"{count} of {value:g}" for value, count in (result.balance or {}).items())
    balance = f" ({counts})" if counts else ""
    unit = "steps" if kind == "prm" else "solutions"
    lines = [
        f"{result.path}: {result.trained} solutions trained, {result.held_out} held out, {result.seconds:.0f} s",
        f"{result.labels} labelled {unit}, mean label {result.mean_label:.3f}{balance}",
        "epoch  train loss  held-out loss  AUC     within  " + "  ".join(result.epochs[0].figures),
    ]
    for number, epoch in enumerate(result.epochs, 1):
        lines.append(
            f"{number:<7}{epoch.train_loss:<12.4f}{figure(epoch.held_out_loss):<15}{figure(epoch.auc):<8}"
            f"{figure(epoch.within_problem_auc):<8}"
            + "  ".join(figure(value).ljust(len(name)) for name, value in epoch.figures.items())
        )
    if result.kept < len(result.epochs):
        lines.append(f"the weights are those of epoch {result.kept}, whose held-out loss is the lowest")
    return "\n".join(lines)
