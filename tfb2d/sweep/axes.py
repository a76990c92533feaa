"""Chooses the axes of a sweep: those that are named and that the run can answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tfb2d.config import Config, ConfigError
from tfb2d.sweep.settings import ALL, Axis, Facts, Variant, base
from tfb2d.sweep.variants import AXES, CannotAnswer, Values, longer

# Axes whose variants --values cannot change.
FIXED = ("teachers", "targets", "interactions", "augmentation", "teacher_init", "affixes")


def axes(
    names: Sequence[str],
    config: Config,
    facts: Facts,
    values: Mapping[str, Values],
    equal_steps: bool = False,
    rows: int = ALL,
    left_out: Callable[[str], None] = lambda line: None,
) -> list[Axis]:
    """Returns the axes of these names, each with the recipe's own settings, the base, among its variants.

    Args:
      names: of AXES, or "all", which leaves out what the run cannot answer.
      values: axis -> values that replace the usual ones.
      equal_steps: whether variants with fewer rows train as many steps as the base, see `longer`.
      rows: transfer rows beyond the labelled ones, of every axis but "transfer"; ALL takes all.
      left_out: called with a line for every axis that "all" leaves out.

    Raises:
      ConfigError: no such axis, an axis that the run cannot answer, or values that cannot work.
    """
    chosen = list(AXES) if "all" in names else list(dict.fromkeys(names))
    for name in (*chosen, *values):
        if name not in AXES:
            raise ConfigError(f"there is no axis {name!r}; there are {', '.join(AXES)}, all")
    for name in values:
        if name not in chosen or name in FIXED:
            why = "its variants are given" if name in chosen else "--sweep does not name it"
            raise ConfigError(f"--values={name}=... is for no axis of this sweep: {why}")
    answered = []
    for name in chosen:
        title, make = AXES[name]
        start = replace(base(config), rows=rows if rows < facts.unlabelled + facts.augmented else ALL)
        try:
            variants, note = make(start, facts, values.get(name))
        except CannotAnswer as problem:
            if "all" in names and name not in names:
                left_out(f"axis {name} is left out: {problem}")
                continue
            raise ConfigError(f"{name}: {problem}") from problem
        except ValueError as problem:
            raise ConfigError(f"--values={name}=...: {problem}") from problem
        for at, variant in enumerate(variants if equal_steps else ()):
            if variant.settings.training.epochs == start.training.epochs:  # with other epochs, steps are equal already
                variants[at] = replace(variant, settings=longer(variant.settings, start, facts))
        if not any(variant.settings == start for variant in variants):
            called = "as the recipe" if start.rows == ALL else f"{start.rows:,} rows, as the other axes"
            variants = [Variant(called, start, None), *variants]
        if start.rows != ALL and name != "transfer":
            note = f"{note} {start.rows:,} rows beyond the {facts.labelled:,} labelled ones, where any.".strip()
        marked = tuple(replace(variant, base=variant.settings == start) for variant in variants)
        answered.append(Axis(name, title, marked, note))
    return answered
