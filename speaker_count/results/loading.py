"""Finished runs as a table in Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from speaker_count.labels import SPLITS
from speaker_count.results import predictions, scores
from speaker_count.results.record import RunResult, finished

if TYPE_CHECKING:
    import pandas


def load_results(folder: str | Path) -> "pandas.DataFrame":
    """The finished runs in a folder, however deep, as a table with a row each.

    Returns:
        Columns `folder, model, kind, seed, epochs, parameters, data, mix, changes, minutes, clips_per_second`; at the
        last epoch `{train,validation,test}_{loss,accuracy,mae}`; of the test clips also `test_ece` (the expected
        calibration error), `test_mae_N` for each count N, `test_accuracy_heard` and `test_heard_share` (clips in which
        every speaker is heard) and `test_composition_accuracy`, where they are known; `best_epoch` and
        `best_test_accuracy` for the epoch of the best validation accuracy; `test_sha256` of the test clips: only runs
        with the same hash can be compared.

    Raises:
        UserError: the folder has no finished run.
    """
    import pandas

    return pandas.DataFrame(_row(path, result) for path, result in finished(Path(folder)).items())


def _row(path: Path, result: RunResult) -> dict[str, Any]:
    test = result.last.test
    return {
        "folder": str(path),
        **{name: getattr(result, name) for name in ("model", "kind", "seed", "epochs", "parameters")},
        "data": result.data["name"],
        "mix": result.mix["name"],
        "changes": " ".join(result.changes),
        "minutes": result.fit_seconds / 60,
        "clips_per_second": result.clips_per_second,
        **{
            f"{split}_{metric}": result.last.of(split).get(metric)
            for split in SPLITS
            for metric in ("loss", "accuracy", "mae")
        },
        "test_ece": test["ece"] if "ece" in test else _of_predictions(path, result).get("ece"),
        **{f"test_mae_{count}": mae for count, mae in scores.mae_by_count(test["confusion"], result.counts).items()},
        **{f"test_{name}": test.get(name) for name in ("accuracy_heard", "heard_share", "composition_accuracy")},
        "best_epoch": result.best.epoch,
        "best_test_accuracy": result.best.test.get("accuracy"),
        "test_sha256": result.test_sha256,
    }


def _of_predictions(path: Path, result: RunResult) -> Mapping[str, float]:
    """The scores that an older version did not write; none if the predictions cannot be used."""
    try:
        table = predictions.read(path / "predictions.parquet", result)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):  # they may come from anywhere
        return {}
    columns = {name: table[name].to_numpy() for name in table.column_names if not name.startswith("c_")}
    return scores.of_predictions({**columns, "sexes": []}, result.counts)
