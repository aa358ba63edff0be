"""Recorded sounds that clips are varied with, from folders of files: noise, and responses of rooms. Each folder is a
pool of its own, decoded like speech.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speaker_count.data import pool as pools
from speaker_count.data import pool_builder, tree
from speaker_count.data.pool import DESCRIPTION, Pool
from speaker_count.errors import UserError

log = logging.getLogger(__name__)
ROOTS = {"noise": "noise_root", "responses": "response_root"}  # the key below `mix.augment` that names the folder
READ_AT_ONCE = 2**20  # samples


class Sounds(NamedTuple):
    """The pools that clips are varied with. In each, a file stands in an utterance's place, its folder in a speaker's.

    Attributes:
        noise, responses: None: generated.
    """

    noise: Pool | None = None
    responses: Pool | None = None

    def opened(self) -> Iterator[tuple[str, Pool]]:
        """The pools that there are, by their names."""
        for name, pool in self._asdict().items():
            if pool is not None:
                yield name, pool

    def described(self) -> dict[str, dict[str, str]]:
        """The SHA-256 of each pool's index and samples, as a result's `data` has those of the corpus."""
        return {
            name: {"corpus_sha256": pool.sha256, "samples_sha256": pool.samples_sha256} for name, pool in self.opened()
        }


GENERATED = Sounds()


def opened(roots: Mapping[str, str | None], cache: Path, sample_rate: int) -> Sounds:
    """The pools of some folders, which are decoded unless that was done before.

    Args:
        roots: the folder of each of `ROOTS`, or its pool; None: none.
        cache: the folder of pools.
        sample_rate: in Hz; files of other rates are resampled, and several channels mixed.

    Raises:
        UserError: a folder has no file, no sound in its files, or files that are damaged.
    """
    return Sounds(
        **{
            name: _opened(f"mix.augment.{ROOTS[name]}", Path(root).expanduser(), cache, sample_rate)
            for name, root in roots.items()
            if root is not None
        }
    )


def _opened(key: str, root: Path, cache: Path, sample_rate: int) -> Pool:
    if not (root / DESCRIPTION).is_file():
        root = pool_builder.build(tree.index(root, "train", key), cache, sample_rate, resample=True)
    pool = Pool(root)
    starts = range(0, len(pool.samples), READ_AT_ONCE)
    if not any(pool.samples[start : start + READ_AT_ONCE].any() for start in starts):
        raise UserError(f"{key}: no sound in its files: all of their samples are zero")
    return pool


def log_cut(responses: Pool, samples: int) -> None:
    """Say how many responses are longer than a clip of `samples`."""
    longer = np.count_nonzero(responses.frames > samples)
    if longer:
        log.info(
            "%d of %d responses of rooms are longer than a clip of %g s: what would sound after its end is cut",
            longer,
            len(responses.frames),
            samples / responses.sample_rate,
        )


def with_pools(mix: Mapping[str, Any], data: Mapping[str, Any], cache: str | Path) -> dict[str, Any]:
    """The mix of a finished run with the pools of its sounds in the folders' place.

    A run may come from anywhere: its folders are not read, but looked for among the user's own pools.

    Args:
        mix, data: of the run's result.
        cache: the folder of pools.

    Raises:
        UserError: the pools lack one.
    """
    if not isinstance(mix.get("augment"), Mapping):
        return dict(mix)
    recorded, found = data.get("sounds"), {}
    for name, key in ROOTS.items():
        sha256 = recorded.get(name) if isinstance(recorded, Mapping) else None
        path = pools.find(cache, sha256) if isinstance(sha256, Mapping) else None
        if sha256 is not None and path is None:
            raise UserError(
                f"no pool in {cache} holds the run's {name}: decode that folder with `speaker-count prepare "
                f"mix=varied mix.augment.{key}=DIR`, or name another mix (evaluate: mix=NAME)"
            )
        found[key] = None if path is None else str(path)
    return {**mix, "augment": {**mix["augment"], **found}}
