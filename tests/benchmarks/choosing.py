"""Which of some runs to take: their accuracy on clips of validation speakers, or of those who trained them.

    python -m tests.benchmarks.choosing RUN [RUN ...] [--split validation] [--clips 6000] [data=..., data.root=...]

RUN is a finished run's folder, or the name of packaged weights. The mixes are the paper's (also its clips whose
speakers are all heard), the level-blind one, that with noise at 15 dB in a room of 0.4 s, and the paper's with nobody
in a quarter of the clips. Of a net's counts, only those of the mix compete. Test speakers have no part in a choice;
`speaker-count evaluate` and `stress` have theirs.
"""

import argparse
from pathlib import Path

import numpy as np
from hydra.utils import instantiate

from speaker_count.compose import compose
from speaker_count.data.clips import Clips
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.labels import SPLITS
from speaker_count.loading import LoadedRun, load_run
from speaker_count.results.scores import heard
from speaker_count.results.stress import JOINT_SECONDS, JOINT_SNR_DB
from speaker_count.results.tables import markdown
from speaker_count.training.quiet import quiet
from tests.benchmarks.peers import with_speech_at_hand

JOINT = {
    "noise_share": 1,
    "snr_db": [JOINT_SNR_DB, JOINT_SNR_DB],
    "room_share": 1,
    "reverberation_seconds": [JOINT_SECONDS, JOINT_SECONDS],
}
SETTINGS = {
    "paper": ["mix=paper"],
    "level-blind": ["mix=level_blind"],
    "noise and room": ["mix=level_blind"],
    "nobody too": ["mix=paper", "mix.counts=[0,1,2,3]"],
}


def made(mix: str, overrides: list[str], split: str, number: int) -> Clips:
    """The clips of a split in a mix."""
    config = compose([*with_speech_at_hand(overrides), *SETTINGS[mix]])
    values = {**config.mix, "clips": {each: number if each == split else 64 for each in SPLITS}}
    if mix == "noise and room":
        values["augment"] = {"splits": [split], **JOINT}
    data: ClipDataModule = instantiate(config.data, mix=values, _convert_="all")
    data.setup()
    return data.clips[split]


def scores(run: LoadedRun, clips: Clips) -> dict[str, float]:
    """The accuracy, that on clips whose speakers are all heard, and that of telling nobody from somebody."""
    known = np.isin(run.counts, clips.mix.counts)
    right, audible, anybody = [], [], []
    for plan, samples in clips.batches(256):
        said = np.array(run.counts)[known][run.predict(samples)[:, known].argmax(axis=1)]
        right.append(said == plan.count)
        audible.append(heard(plan.activity, plan.count))
        anybody.append((said > 0) == (plan.count > 0))
    correct = np.concatenate(right)
    parts = {"all": correct, "heard": correct[np.concatenate(audible)], "anybody": np.concatenate(anybody)}
    return {name: round(float(part.mean()), 3) for name, part in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--split", choices=("validation", "train"), default="validation", help="whose speakers speak")
    parser.add_argument("--clips", type=int, default=6000, help="of each mix (6000)")
    parser.add_argument("arguments", nargs="+", metavar="RUN or KEY=VALUE", help="runs, and overrides as for train")
    arguments = parser.parse_intermixed_args()
    overrides = [each for each in arguments.arguments if "=" in each]
    quiet()
    clips = {mix: made(mix, overrides, arguments.split, arguments.clips) for mix in SETTINGS}
    rows = []
    for name in (each for each in arguments.arguments if "=" not in each):
        run = load_run(name)
        row: dict[str, str | float] = {"run": Path(name).name}
        for mix in SETTINGS:
            if set(clips[mix].mix.counts) <= set(run.counts):
                figures = scores(run, clips[mix])
                row[mix] = figures["all"]
                row |= {"heard": figures["heard"]} if mix == "paper" else {}
                row |= {"nobody or somebody": figures["anybody"]} if mix == "nobody too" else {}
        rows.append(row)
    columns = ("run", "paper", "heard", "level-blind", "noise and room", "nobody too", "nobody or somebody")
    print(markdown(rows, {column: column for column in columns}))


if __name__ == "__main__":
    main()
