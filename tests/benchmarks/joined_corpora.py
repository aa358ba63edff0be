"""Several corpora as one manifest, each with its own splits: what the packaged weights are trained on.

    python -m tests.benchmarks.joined_corpora OUT.csv "data=NAME data.root=DIR" ["data=NAME data.root=DIR" ...]

Every argument after the first is the overrides of one corpus, in quotes. Then `speaker-count train data=manifest
data.root=OUT.csv` trains on all of them.
"""

import csv
import os
import shlex
import sys
from pathlib import Path

from hydra.utils import instantiate

from speaker_count.compose import compose
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.labels import SEXES, SPLITS


def rows(overrides: str, folder: Path) -> list[dict[str, str]]:
    """The rows of a corpus, with paths relative to a folder."""
    config = compose(shlex.split(overrides))
    data: ClipDataModule = instantiate(config.data, mix=config.mix, _convert_="all")
    corpus = data.source.index()
    if corpus.spans is not None:
        sys.exit(f"{overrides}: some of its utterances are parts of files, which this manifest does not have")
    return [
        {
            "path": os.path.relpath(corpus.root / path, folder),
            "speaker": str(corpus.speakers[speaker]),
            "sex": SEXES[corpus.sexes[speaker]],
            "split": SPLITS[corpus.splits[speaker]],
        }
        for path, speaker in zip(corpus.paths.to_pylist(), corpus.speaker, strict=True)
    ]


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit((__doc__ or "").split("\n\n")[1].strip())
    out = Path(sys.argv[1])
    found = [row for overrides in sys.argv[2:] for row in rows(overrides, out.parent)]
    with open(out, "x", newline="") as file:
        writer = csv.DictWriter(file, ["path", "speaker", "sex", "split"])
        writer.writeheader()
        writer.writerows(found)
    print(f"{out}: {len(found):,} utterances of {len({row['speaker'] for row in found}):,} speakers")


if __name__ == "__main__":
    main()
