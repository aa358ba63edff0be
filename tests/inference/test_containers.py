"""Video and other containers, where PyAV is installed."""

import numpy as np
import pytest

import speaker_count
from speaker_count.errors import UserError
from speaker_count.inference.scoring import Reference
from tests.inference.conftest import RATE

av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'speaker-count[video]'")


def write(path, samples: np.ndarray, codec: str, rate: int, layout: str) -> None:
    """Write sound into a container."""
    container = av.open(str(path), "w")
    stream = container.add_stream(codec, rate=rate, layout=layout)
    frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate = RATE
    resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
    fifo = av.AudioFifo()
    for converted in [*resampler.resample(frame), *resampler.resample(None)]:
        fifo.write(converted)
    while (part := fifo.read(stream.codec_context.frame_size or 1024)) or (part := fifo.read()):
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))
    container.close()


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout"),
    [("x.mp4", "aac", 44_100, "stereo"), ("x.mkv", "ac3", 48_000, "mono"), ("x.webm", "libopus", 48_000, "mono")],
)
def test_the_sound_of_a_video_is_counted(conversation, tmp_path, name, codec, rate, layout):
    write(tmp_path / name, conversation.samples, codec, rate, layout)
    prediction = speaker_count.predict(tmp_path / name)
    assert prediction.sample_rate == rate
    assert prediction.duration == pytest.approx(28, abs=0.2)
    assert Reference(conversation.reference).score(prediction).accuracy > 0.8


def test_a_container_without_its_table_is_no_sound(conversation, tmp_path):
    write(tmp_path / "x.mp4", conversation.samples, "aac", 44_100, "mono")
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "x.mp4").read_bytes()[:50_000])
    with pytest.raises(UserError, match=r"cut.mp4 is no sound that can be read"):
        speaker_count.predict(tmp_path / "cut.mp4")
