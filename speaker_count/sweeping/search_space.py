"""The values among which a search chooses, as Hydra's overrides write them and as Optuna takes them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from speaker_count.errors import UserError
from speaker_count.training import run_folder

Space = dict[str, BaseDistribution]


def divide(overrides: Sequence[Override]) -> tuple[Space, dict[str, str]]:
    """Divide overrides into those with several values and those with one.

    Returns:
        By their keys, the distributions of the former and the text of the latter. Of a key that is given twice, the
        last counts.

    Raises:
        UserError: a distribution is none.
    """
    space: Space = {}
    fixed: dict[str, str] = {}
    for override in overrides:
        key = override.get_key_element()
        space.pop(key, None)
        fixed.pop(key, None)
        if override.is_sweep_override():
            space[key] = _distribution(override)
        else:
            fixed[key] = str(override.input_line)
    return space, fixed


def _distribution(override: Override) -> BaseDistribution:
    """Optuna's distribution of an override's values: choices are kept as texts, such as `[1,2]`."""
    value = override.value()
    try:
        if isinstance(value, IntervalSweep):
            low, high, step = value.start, value.end, None
        elif isinstance(value, RangeSweep):
            values = sorted(value.range())
            low, high, step = values[0], values[-1], abs(value.step)
        else:
            return CategoricalDistribution(list(override.sweep_string_iterator()))
        log = "log" in value.tags
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log, step=1 if step is None else int(step))
        return FloatDistribution(float(low or 0), float(high or 0), log=log, step=step)
    except (ValueError, IndexError) as error:  # such as a logarithm of 0, or an empty range
        reason = (str(error).splitlines() or ["no values"])[0]
        raise UserError(f"{override.input_line}: {reason}") from error


def overrides_of(params: Mapping[str, Any]) -> list[str]:
    """A trial's values as overrides, with as many digits as a table can show."""
    return [f"{key}={value:.6g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()]


def name_of(space: Space, fixed: Mapping[str, str], metric: str, direction: str) -> str:
    """A name for a search: the same for the same search, whatever does not change a run's result."""
    ours = sorted(text for key, text in fixed.items() if not run_folder.is_outside(key.lstrip("+~").partition("@")[0]))
    values = {key: repr(distribution) for key, distribution in space.items()}
    whole = json.dumps([values, ours, metric, direction], sort_keys=True)
    return f"search-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
