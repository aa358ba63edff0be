"""A trained net as an ONNX file, run by onnxruntime.

Its metadata says what it takes and gives: `labels` and `counts` (JSON lists), `sample_rate` (Hz), `clip_samples`,
`model`, `identity` (of the run), `sha256` (of the weights) and `temperature`. Its input is `waveform`, `(batch,
clip_samples)` float in [-1, 1). Its output is `probabilities`, `(batch, classes)`: how many speak anywhere in the clip.
A net that also counts in each time step has a second output of the same shape, `middle`: how many speak at a time in
the middle half of the clip.
"""

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from speaker_count import weights
from speaker_count.errors import UserError

INPUT, OUTPUT, MIDDLE = "waveform", "probabilities", "middle"
MOST_BYTES = 2**29  # of a file; the packaged one takes a hundredth
NOWHERE = os.path.join(os.devnull, "none")  # no folder: a file of weights beside the net is not opened
LONGEST_LABEL = 60  # characters
MOST_SPEAKERS = 100  # of a class
RATES = 4_000, 192_000  # Hz
MOST_SAMPLES = 2**24  # of a clip: a quarter of an hour at 16 kHz
SLACK = 1e-3  # that probabilities may be off by
BATCH = 16  # clips that are computed at a time: their activations fit a processor's cache


@dataclass(frozen=True)
class Described:
    """What an ONNX file says of itself.

    Attributes:
        counts: the number of speakers of each class, increasing.
        labels: the names of the classes.
        sample_rate: of the clips, in Hz.
        clip_samples: the length of a clip.
        model: the net's name.
        identity: of the run that trained it.
        sha256: of its weights.
    """

    counts: list[int]
    labels: list[str]
    sample_rate: int
    clip_samples: int
    model: str = ""
    identity: str = ""
    sha256: str = ""

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> "Described":
        """Read and check the metadata of a file, which comes from anywhere.

        Raises:
            ValueError: something is missing or absurd.
        """
        try:
            counts, labels = json.loads(metadata["counts"]), json.loads(metadata["labels"])
            sample_rate, clip_samples = int(metadata["sample_rate"]), int(metadata["clip_samples"])
        except KeyError as error:
            raise ValueError(f"its metadata lacks {error.args[0]}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError("its metadata is damaged") from error
        if not isinstance(counts, list) or not all(type(count) is int for count in counts) or len(counts) < 2:
            raise ValueError("its counts are no list of whole numbers")
        if counts != sorted({*counts}) or not 0 <= counts[0] <= counts[-1] <= MOST_SPEAKERS:
            raise ValueError("its counts are not increasing numbers of speakers")
        if not isinstance(labels, list) or len(labels) != len(counts) or not all(map(_is_label, labels)):
            raise ValueError("its labels are not those of its counts")
        if not RATES[0] <= sample_rate <= RATES[1] or not sample_rate // 100 <= clip_samples <= MOST_SAMPLES:
            raise ValueError("its sample rate or its length of a clip is absurd")
        own = {key: metadata.get(key, "")[:100] for key in ("model", "identity", "sha256")}
        return cls(counts, labels, sample_rate, clip_samples, **own)


class Session:
    """A net that is ready to count.

    Args:
        model: the path of an ONNX file, or its content.
        threads: how many compute; None: as many as this process may use cores.

    Attributes:
        described: what the file says of itself.
        over_time: the output from which counts over time are made: `MIDDLE` where there is one, else `OUTPUT`.

    Raises:
        UserError: the file is missing, damaged, or no net that `speaker-count export` wrote.
    """

    def __init__(self, model: str | Path | bytes, threads: int | None = None) -> None:
        self._threads = threads or usable_cores()
        self._name = name = "the ONNX model" if isinstance(model, bytes) else str(model)
        try:
            content = model if isinstance(model, bytes) else _read(Path(model))
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4  # what is wrong is in the exception
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", NOWHERE)
            # batches are computed in parallel, each in one thread: threads within a batch wait for each other
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            self.described = Described.read(self._session.get_modelmeta().custom_metadata_map)
            self.over_time = _check_form(self._session, self.described)[-1]
        except OSError as error:
            raise UserError(f"cannot read {name}: {error.strerror or error}") from error
        except Exception as error:  # onnxruntime's errors share no class
            own = str(error) if type(error) is ValueError else "onnxruntime cannot load it"
            raise self._no_net(own) from error
        # what a file says is not always what it does
        self.probabilities(np.zeros((2, self.described.clip_samples), np.float32), self.over_time)

    def _no_net(self, reason: str) -> UserError:
        return UserError(f"{self._name} is no net to count with ({reason}): `speaker-count export RUN_DIR` writes one")

    def probabilities(self, clips: np.ndarray, output: str = OUTPUT) -> np.ndarray:
        """The probability of each class.

        Args:
            clips: `(batch, clip_samples)` float32 in [-1, 1); a batch of any size.
            output: `OUTPUT` or `over_time`.

        Returns:
            `(batch, classes)` float32.
        """
        batches = (clips[start : start + BATCH] for start in range(0, len(clips), BATCH))
        return np.concatenate([np.empty((0, len(self.described.counts)), np.float32), *self.stream(batches, output)])

    def stream(self, batches: Iterable[np.ndarray], output: str = OUTPUT) -> Iterator[np.ndarray]:
        """The probabilities of one batch after another; as many batches are computed at a time as there are threads.

        Args:
            batches, output: as of `probabilities`.

        Raises:
            UserError: the net fails, or gives no probabilities.
        """
        running = onnxruntime.RunOptions()
        running.log_severity_level = 4
        ahead: deque[Future[np.ndarray]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                for clips in batches:
                    ahead.append(pool.submit(self._run, clips, output, running))
                    if len(ahead) > self._threads:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            except BaseException:
                running.terminate = True  # a net from elsewhere may have an endless loop, which Ctrl-C ends
                raise

    def _run(self, clips: np.ndarray, output: str, running: onnxruntime.RunOptions) -> np.ndarray:
        try:
            (given,) = self._session.run([output], {INPUT: np.ascontiguousarray(clips)}, running)
        except Exception as error:  # onnxruntime's errors share no class
            raise self._no_net("onnxruntime fails while it runs") from error
        probabilities = np.asarray(given)
        fits = probabilities.shape == (len(clips), len(self.described.counts))
        if not fits or not (np.abs(probabilities.sum(axis=1) - 1) < SLACK).all() or (probabilities < -SLACK).any():
            raise self._no_net("what it gives are no probabilities")
        return probabilities


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def packaged(name: str = "recommended") -> Path:
    """The ONNX file of packaged weights."""
    return weights.FOLDER / f"{name}.onnx"


def _is_label(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= LONGEST_LABEL


def _read(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")  # a pipe would be waited for
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
    return path.read_bytes()


def _check_form(session: onnxruntime.InferenceSession, described: Described) -> list[str]:
    """The names of the outputs.

    Raises:
        ValueError: the inputs or the outputs are not those that its metadata says.
    """

    def forms(values: Sequence[onnxruntime.NodeArg]) -> list[tuple[str, str, int | str]]:
        return [(value.name, value.type, value.shape[-1] if len(value.shape) == 2 else "") for value in values]

    inputs, outputs = forms(session.get_inputs()), forms(session.get_outputs())
    if inputs != [(INPUT, "tensor(float)", described.clip_samples)]:
        raise ValueError(f"it does not take {INPUT} (batch, {described.clip_samples})")
    expected = [(name, "tensor(float)", len(described.counts)) for name in (OUTPUT, MIDDLE)]
    if outputs[:1] != expected[:1]:
        raise ValueError(f"it does not give {OUTPUT} (batch, {len(described.counts)})")
    if outputs[1:] not in ([], expected[1:]):
        raise ValueError(f"it gives more than {OUTPUT} and {MIDDLE} (batch, {len(described.counts)})")
    return [name for name, *_ in outputs]
