"""Trained nets as two small files each, `NAME.safetensors` and `NAME.json`: those that come with the package, and those
that `speaker-count weights` writes of one's own runs.

`speaker_count.load_run("recommended")` loads one. The model card is README.md beside this file.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
TENSORS, DESCRIPTION = ".safetensors", ".json"


def names() -> list[str]:
    """The names of the weights that come with the package."""
    return sorted(path.stem for path in FOLDER.glob(f"*{DESCRIPTION}"))


def find(what: str | Path) -> Path | None:
    """The JSON file of weights.

    Args:
        what: a packaged name, or the path of one of the two files. A name is a text without a folder: `./recommended`
            and `Path("recommended")` are a run's folder, whatever is packaged.

    Returns:
        Its path, whether it exists or not; None: it is no weights, but a run's folder.
    """
    if isinstance(what, str) and what in names():
        return FOLDER / f"{what}{DESCRIPTION}"
    path = Path(what)
    is_file_of_weights = path.suffix in (TENSORS, DESCRIPTION) and not path.is_dir()
    return path.with_suffix(DESCRIPTION) if is_file_of_weights else None
