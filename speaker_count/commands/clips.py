"""`speaker-count clips data=... out=DIR`: write the clips that training streams as WAV files, with their metadata.

After an interruption, the same command resumes; it also rewrites missing or altered files. `data=clips data.root=DIR`
trains from the files.
"""

import argparse
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

import joblib

from speaker_count.errors import UserError
from speaker_count.training.importing import importing


def main() -> None:
    """Read the command line, and write the clips."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", 1)[1].strip())
    parser.add_argument(
        "overrides",
        nargs="*",
        help="as for train: data=librispeech, mix.clips.train=1000, ...; out=DIR; workers=N threads (all cores)",
    )
    parser.add_argument("--config-dir", help="a folder of your own configs")
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    own = [argument for argument in arguments.overrides if argument.startswith(("out=", "workers="))]
    overrides = [argument for argument in arguments.overrides if argument not in own]
    out, workers = _options(own)
    # from here on what takes longer, the longest last: a misspelt key is said before torch is imported
    from speaker_count.compose import compose, quoted, recipe

    config = compose(overrides, arguments.config_dir)
    with importing():
        from speaker_count.data import wav_folder, wav_writer

    data = recipe(config, only=("data", "mix")).data()
    data.source.check_trains(data.name)
    if data.rendered:
        raise UserError(f"data={data.name} already consists of clips in files: copy {data.root}")
    if data.mix.fresh_each_epoch:
        raise UserError(
            "mix.fresh_each_epoch=true: files hold the same clips in every epoch; give mix.fresh_each_epoch=false"
        )
    again = [*overrides, *(["--config-dir", arguments.config_dir] if arguments.config_dir else [])]
    with wav_writer.claimed(out):
        data.setup()
        with data.verified():
            written = wav_writer.write(data, out, again, workers)
    total = sum(data.mix.clips.values())
    print(f"{total:,} clips in {out}: {written:,} written, {total - written:,} kept")
    default = recipe(compose(["data=clips", "data.root=."], arguments.config_dir), only=("data", "mix")).data()
    given = wav_folder.choices(default.mix, default.sample_rate)
    needed = wav_folder.overrides(wav_folder.choices(data.mix, data.sample_rate), given)
    train = ["speaker-count", "train", "data=clips", f"data.root={quoted(out)}", *needed]
    print(f"train from them: {shlex.join(train)}")


def _options(arguments: Sequence[str]) -> tuple[Path, int]:
    """The command's own arguments: `out` and `workers`."""
    given = dict(argument.split("=", 1) for argument in arguments)
    if not given.get("out"):
        raise UserError("name the folder that the clips are written to: out=DIR")
    workers = given.get("workers", str(joblib.cpu_count()))
    if not workers.isdecimal() or int(workers) < 1:
        raise UserError(f"workers={workers}: expected a whole number, at least 1")
    return Path(given["out"]).expanduser(), int(workers)
