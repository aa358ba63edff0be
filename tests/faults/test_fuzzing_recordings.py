"""Recordings with damaged headers: each is counted or refused in one line, in little time and memory."""

import resource
import time

import numpy as np
import pytest
import soundfile

from speaker_count.errors import UserError
from speaker_count.inference import audio

RATE = 16_000
ENDINGS = ("wav", "flac", "ogg", "aiff", "caf", "w64", "au", "voc", "paf", "avr")
MUTATIONS = 150
MOST_SECONDS = 2.0
MOST_BYTES = 2**28


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_damaged_recording_is_read_or_refused_in_one_line(tmp_path, tally, ending):
    random = np.random.default_rng(0)
    soundfile.write(tmp_path / f"x.{ending}", random.normal(0, 0.1, 3 * RATE // 2), RATE)
    whole = (tmp_path / f"x.{ending}").read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(MUTATIONS):
        content = bytearray(whole)
        for _ in range(random.integers(1, 6)):
            within = 120 if random.random() < 0.8 else len(content)
            content[random.integers(within)] = random.choice([0, 127, 128, 255, random.integers(256)])
        (tmp_path / "damaged").write_bytes(content)
        begin = time.monotonic()
        said = ""
        try:
            with audio.opened(tmp_path / "damaged") as recording:
                assert all(np.isfinite(block).all() for block in audio.mono(recording, RATE))
        except UserError as error:
            said = str(error)
        assert "\n" not in said
        assert time.monotonic() - begin < MOST_SECONDS
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < MOST_BYTES
    tally(inputs=MUTATIONS)
