"""Which strategy searches: the option that decides what the other options are."""

import difflib
from collections.abc import Sequence
from typing import Any

import tyro

from stepmark.budget.plan import Plan, read_plan
from stepmark.errors import InputError
from stepmark.search.settings import Settings
from stepmark.search.strategies import STRATEGIES


def settings_of(args: Sequence[str], default: str | None = None) -> type[Settings]:
    """The settings' class of the strategy that `args` name; what all strategies share where they name none. Raises
    InputError for a name that is no strategy's."""
    named = [value for word, value in zip(args, [*args[1:], ""], strict=True) if word == "--strategy"]
    named += [word.removeprefix("--strategy=") for word in args if word.startswith("--strategy=")]
    name = named[-1] if named else default
    if name is None:
        return Settings
    if name not in STRATEGIES:
        nearest = difflib.get_close_matches(name, STRATEGIES, n=1)
        raise InputError(
            f"there is no strategy {name!r}" + (f"; did you mean {nearest[0]!r}?" if nearest else ""),
            remedy=f"the strategies are {', '.join(STRATEGIES)}",
        )
    return STRATEGIES[name][1]


def plans() -> tyro.constructors.ConstructorRegistry:
    """By which an option that is a plan is given as the file that holds it."""
    registry = tyro.constructors.ConstructorRegistry()

    @registry.primitive_rule
    def rule(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
        if info.type is not Plan:
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="FILE",
            instance_from_str=lambda words: read_plan(words[0]),
            is_instance=lambda value: isinstance(value, Plan),
            str_from_instance=lambda plan: ["a plan"],
        )

    return registry
