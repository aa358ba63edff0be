"""Video and other containers, where PyAV is installed."""

import http.server
import subprocess
import sys
import threading
from typing import ClassVar

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


@pytest.mark.parametrize(("name", "codec"), [("x.mkv", "ac3"), ("x.avi", "ac3"), ("x.webm", "libopus")])
def test_a_container_that_is_cut_is_truncated(conversation, tmp_path, name, codec):
    write(tmp_path / name, conversation.samples, codec, 48_000, "mono")
    content = (tmp_path / name).read_bytes()
    for length in (len(content) // 2, len(content) - 1):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(UserError, match=f"{name} is truncated: it has {length:,} of {len(content):,} bytes"):
            speaker_count.predict(tmp_path / name)


class Asked(http.server.BaseHTTPRequestHandler):
    """Notes what is asked for."""

    paths: ClassVar[list[str]] = []

    def do_GET(self):
        self.paths.append(self.path)
        self.send_error(404)

    def log_message(self, *_):
        pass


SESSION = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
SEGMENT = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"


def test_a_file_that_names_other_files_or_addresses_fetches_nothing(conversation, tmp_path):
    write(tmp_path / "sound.ts", conversation.samples, "aac", 44_100, "mono")
    with http.server.HTTPServer(("127.0.0.1", 0), Asked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "a.m3u8").write_text(SEGMENT.format(f"http://127.0.0.1:{server.server_port}/x.ts"))
        (tmp_path / "b.m3u8").write_text(SEGMENT.format("sound.ts"))
        (tmp_path / "c.sdp").write_text(SESSION)  # would wait for the network
        (tmp_path / "d.wav").write_text("ffconcat version 1.0\nfile sound.ts\n")
        script = "import sys, speaker_count\nfor x in speaker_count.Predictor().predict_all(sys.argv[1:]): print(x)"
        names = ["a.m3u8", "b.m3u8", "c.sdp", "d.wav"]
        done = subprocess.run([sys.executable, "-c", script, *names], cwd=tmp_path, capture_output=True, timeout=60)
        server.shutdown()
    said = done.stdout.decode().splitlines()
    assert [line.split(" (")[0] for line in said] == [f"{name} is no sound that can be read" for name in names]
    assert Asked.paths == []


def test_a_container_without_its_table_is_no_sound(conversation, tmp_path):
    write(tmp_path / "x.mp4", conversation.samples, "aac", 44_100, "mono")
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "x.mp4").read_bytes()[:50_000])
    with pytest.raises(UserError, match=r"cut.mp4 is no sound that can be read"):
        speaker_count.predict(tmp_path / "cut.mp4")
