"""`speaker-count prepare data=...`: get, verify, index and decode a corpus, so that training finds it ready."""

import argparse
import logging

from speaker_count.errors import UserError, printable
from speaker_count.training.importing import importing


def main() -> None:
    """Read the command line, and prepare the corpus."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", 1)[1].strip())
    parser.add_argument("overrides", nargs="*", help="as for train: data=librispeech, data.root=DIR, force=true, ...")
    parser.add_argument("--config-dir", help="a folder of your own configs")
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # from here on what takes longer, the longest last: a misspelt key is said before torch is imported
    from speaker_count.compose import compose, recipe

    config = compose(arguments.overrides, arguments.config_dir)
    with importing():
        from speaker_count.data.clips import MixedClips
        from speaker_count.data.pool import Pool
        from speaker_count.sweeping import requirements

    data = recipe(config, only=("data", "mix")).data()
    if data.rendered:
        raise UserError(f"data={data.name} needs no preparation: its clips are verified whenever they are used")
    found, added = requirements.speech(data)  # what it takes, before it takes hours
    print(*map(printable, [*found, *requirements.disk(added)]), sep="\n", flush=True)
    data.source.download()
    pool = Pool(data.prepare_data(config.force))
    pool.verify(again=True)
    data.setup()
    for split, clips in data.clips.items():
        if not isinstance(clips, MixedClips):
            print(f"{split:10} {len(clips):6} recordings with {clips.speakers} speakers")
            continue
        women, men, unknown = clips.roster.of_sex
        others = f", {unknown} of unknown sex" if unknown else ""
        utterances = clips.roster.utterances
        hours = pool.frames[utterances].sum() / data.sample_rate / 3600
        speakers = f"{women:5} female, {men:5} male speakers{others}"
        print(f"{split:10} {speakers}, {len(utterances):7} utterances, {hours:8.2f} h")
    print(f"decoded in {pool.path}")
