"""A small synthetic corpus in LibriSpeech's layout: eSpeak NG reads sentences in many voices.

It shows that everything works on a machine without a corpus. Its speakers are one synthesiser with different settings:
scores on it say nothing about real speech. eSpeak NG (GPL-3) comes with the extra `demo` and runs in a process of its
own. Its output depends on its earlier output, so the whole corpus is one series of calls, the same each time.
"""

import ctypes
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import numpy as np
import soundfile

from speaker_count.errors import UserError, user_error

log = logging.getLogger(__name__)
MARK = "; speaker_count demo corpus"  # begins the first line of its SPEAKERS.TXT; version and sizes follow
VERSION = 1  # of the corpus: a corpus of another version is made again
SUBSET = "demo"
# breathy variants (f2, f3, f5 and others) are left out: their noise differs from process to process
VARIANTS = {
    "F": ("f1", "f4", "Annie", "Andrea", "anika", "belinda", "linda", "steph"),
    "M": ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"),
}
PITCHES = (50, 30, 70, 40, 60)  # per cent of a voice's range; pitch and rate change once all variants have been used
RATES = (165, 185, 150, 200, 175)  # words a minute
MOST_SPEAKERS = 2 * min(len(variants) * len(PITCHES) for variants in VARIANTS.values())


class Speaker(NamedTuple):
    """A voice of the demo corpus."""

    name: str
    sex: str
    variant: str
    pitch: int
    rate: int


def speakers(number: int) -> list[Speaker]:
    """The first voices of the demo corpus, all different, female and male in turn.

    Raises:
        UserError: fewer than two, or more than eSpeak NG has.
    """
    if not 2 <= number <= MOST_SPEAKERS:
        raise UserError(f"data.voices={number}: expected 2 to {MOST_SPEAKERS}, the number of voices")
    made = []
    for row in range(number):
        sex = "FM"[row % 2]
        setting, variant = divmod(row // 2, len(VARIANTS[sex]))
        made.append(Speaker(str(row + 1), sex, VARIANTS[sex][variant], PITCHES[setting], RATES[setting]))
    return made


def synthesize(root: Path, sample_rate: int, speakers: int = 48, utterances: int = 6) -> None:
    """Make the corpus below `root`, unless it exists; it appears whole or not at all.

    Args:
        sample_rate: in Hz.
        speakers: number of voices, half of each sex.
        utterances: sentences per voice, most of them between three and five seconds long.

    Raises:
        UserError: eSpeak NG is not installed, or the folder cannot be written.
    """
    mark = f"{MARK} {VERSION}: {speakers} speakers, {utterances} utterances, {sample_rate} Hz"
    table = root / "LibriSpeech" / "SPEAKERS.TXT"
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root.with_name(f".{root.name}.lock")):
            written = table.read_text() if table.is_file() else ""
            if written.startswith(f"{mark}\n"):
                return
            if root.is_dir() and any(root.iterdir()) and not written.startswith(MARK):
                raise UserError(
                    f"{root} holds other files than the demo corpus: name another folder with data.root=DIR"
                )
            log.info("synthesising the demo corpus in %s", root)
            partial = root.with_name(f".{root.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            command = [
                sys.executable,
                "-P",
                "-m",
                __name__,
                partial / "LibriSpeech",
                speakers,
                utterances,
                sample_rate,
                mark,
            ]
            child = subprocess.run(list(map(str, command)), stderr=subprocess.PIPE, text=True)
            if child.returncode:
                raise UserError(f"cannot make the demo corpus: {child.stderr.strip().splitlines()[-1]}")
            shutil.rmtree(root, ignore_errors=True)
            partial.rename(root)
    except OSError as error:
        raise UserError(f"cannot write the demo corpus to {root}: {error.strerror or error}") from error


def main() -> None:
    """Make the corpus, in the only process that imports eSpeak NG."""
    folder, mark = Path(sys.argv[1]), sys.argv[5]
    number, utterances, sample_rate = map(int, sys.argv[2:5])
    try:
        from scipy.signal import resample_poly

        voice = ESpeak()
    except ImportError as error:
        sys.exit(str(user_error(error, "data=demo") or error))
    rate = np.gcd(voice.sample_rate, sample_rate)
    lines = [mark, ";ID |SEX| SUBSET | MINUTES | NAME"]
    for row, speaker in enumerate(speakers(number)):
        chapter = folder / SUBSET / speaker.name / "1"
        chapter.mkdir(parents=True)
        seconds = 0.0
        for utterance in range(utterances):
            text = SENTENCES[(row + utterance * 7) % len(SENTENCES)]
            samples = resample_poly(voice.say(text, speaker), sample_rate // rate, voice.sample_rate // rate)
            samples = np.clip(np.rint(samples), -32_768, 32_767).astype(np.int16)
            soundfile.write(chapter / f"{speaker.name}-1-{utterance:04}.flac", samples, sample_rate)
            seconds += len(samples) / sample_rate
        name = f"eSpeak NG en-us+{speaker.variant}, pitch {speaker.pitch}, {speaker.rate} words a minute"
        lines.append(f"{speaker.name} | {speaker.sex} | {SUBSET} | {seconds / 60:.2f} | {name}")
    (folder / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n")


class ESpeak:
    """eSpeak NG through its C interface (speak_lib.h)."""

    SYNCHRONOUS, UTF8 = 2, 1
    RATE, VOLUME, PITCH = 1, 2, 3

    def __init__(self) -> None:
        import espeakng_loader

        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.data = Path(espeakng_loader.get_data_path())
        self.sample_rate: int = self.library.espeak_Initialize(self.SYNCHRONOUS, 0, str(self.data).encode(), 0)
        if self.sample_rate <= 0:
            sys.exit(f"eSpeak NG does not start with the data in {self.data}")
        self._chunks: list[np.ndarray] = []
        signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = signature(self._collect)  # without a reference, Python would free it under the library
        self.library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: Any, number: int, events: Any) -> int:
        if number > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (number,)).copy())
        return 0

    def say(self, text: str, speaker: Speaker) -> np.ndarray:
        """`(samples,)` float64 in the range of 16 bits, at `sample_rate`."""
        # eSpeak NG would silently take another voice
        if not (self.data / "voices" / "!v" / speaker.variant).is_file():
            sys.exit(f"this eSpeak NG has no voice variant {speaker.variant}")
        self._chunks = []
        self.library.espeak_SetVoiceByName(f"en-us+{speaker.variant}".encode())
        self.library.espeak_SetParameter(self.VOLUME, 50, 0)  # some voices clip at the default of 100
        self.library.espeak_SetParameter(self.RATE, speaker.rate, 0)
        self.library.espeak_SetParameter(self.PITCH, speaker.pitch, 0)
        encoded = text.encode()
        self.library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, self.UTF8, None, None)
        self.library.espeak_Synchronize()
        return np.concatenate(self._chunks).astype(np.float64)


SENTENCES = tuple(
    line.strip()
    for line in """
    The ferry leaves the harbour at seven, and it never waits for anybody.
    My grandmother kept her recipes in a tin box under the stairs.
    We counted eleven herons standing in the shallow end of the lake.
    Nobody remembered who had painted the old station door bright green.
    The library closes early on Thursdays when the choir is practising.
    A narrow path led down between the hedges to the back of the mill.
    She tuned the second string twice before the audience had settled.
    Bring a lamp, a warm coat, and something to write with, he said.
    The baker's youngest son delivers bread on a borrowed bicycle.
    Snow had fallen all night, and the valley was perfectly quiet.
    They argued about the map until the rain washed half of it away.
    Every window in the street was lit except the one above the shop.
    The professor's notes were full of arrows, circles and question marks.
    On clear evenings you can see the lighthouse from the kitchen table.
    He mended clocks for a living and was late for every appointment.
    The orchestra rehearsed the slow movement again and again that week.
    Six boxes of lemons arrived this morning, and we had ordered one.
    A fox crossed the railway line just ahead of the morning train.
    The children built a dam of stones and gave the pond a name.
    Please leave the keys with the neighbour who feeds the cat.
    The market was crowded, but the flower seller knew us at once.
    It takes about an hour to walk around the island at low tide.
    Their first radio was larger than the cupboard it stood on.
    The judge asked the witness to begin again from the beginning.
    Somebody had left a violin case on the last bench of the bus.
    The river rose so quickly that the bridge was closed by noon.
    I have never met a gardener who was satisfied with the weather.
    Two engineers spent the summer measuring the height of the dunes.
    The tea was too hot to drink and too good to leave behind.
    A thin column of smoke was rising behind the furthest hill.
    We learned the song by heart without understanding a word of it.
    The museum keeps a meteorite that visitors are allowed to touch.
    Her letter arrived three weeks after she had come home herself.
    The carpenter measured twice and still cut the board too short.
    In winter the whole village smells of wood smoke and oranges.
    The captain wrote down the wind, the hour, and nothing else.
    There is a shortcut through the churchyard if you mind the geese.
    Our teacher could whistle two notes at the same time.
    The telescope was pointed at the moon, but the clouds came back.
    He sold the horse, kept the saddle, and walked to the coast.
    The elevator stopped between floors, and everybody began to talk.
    A jar of honey stood on the table with a spoon tied to it.
    The city looks smaller every time I come back to it by sea.
    They planted an apple tree on the day the school was opened.
    The printer ran out of blue ink halfway through the sky.
    You could hear the drummers long before they turned the corner.
    The doctor's handwriting was famous as far as the next county.
    At midnight the bells rang, and all the dogs answered them.
    """.strip().splitlines()
)

if __name__ == "__main__":
    main()
