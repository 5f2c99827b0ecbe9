"""Published reward models: how each kind is read (`family`), and one from its directory (`load`, `describe`)."""

from stepmark.rewards.families.family import FAMILIES, Family
from stepmark.rewards.families.loading import Description, Loaded, describe, load

__all__ = ["FAMILIES", "Description", "Family", "Loaded", "describe", "load"]
