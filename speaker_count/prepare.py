"""`speaker-count prepare data=...`: get, verify, index and decode a corpus, so that training finds it ready."""

import argparse
import logging

from hydra.utils import instantiate

from speaker_count.compose import compose
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.pool import Pool
from speaker_count.errors import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":", 1)[1].strip())
    parser.add_argument("overrides", nargs="*", help="as for train: data=librispeech, data.root=DIR, force=true, ...")
    parser.add_argument("--config-dir", help="a folder of your own configs")
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    config = compose(arguments.overrides, arguments.config_dir)
    datamodule: ClipDataModule = instantiate(config.data, mix=config.mix, _convert_="all")
    if datamodule.rendered:
        raise UserError(f"data={config.data.name} needs no preparation: its clips are verified whenever they are used")
    datamodule.download()
    path = datamodule.prepare_data(config.force)
    Pool(path).verify()
    datamodule.setup()
    for split, clips in datamodule.clips.items():
        roster = clips.roster
        women, men = roster.of_sex
        hours = datamodule.pool.frames[roster.utterances].sum() / datamodule.sample_rate / 3600
        print(
            f"{split:10} {women:5} female, {men:5} male speakers, {len(roster.utterances):7} utterances, {hours:8.2f} h"
        )
    print(f"decoded in {path}")
