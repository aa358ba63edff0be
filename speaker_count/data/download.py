"""Download LibriSpeech from OpenSLR: resumable, verified, extracted whole or not at all."""

import errno
import gzip
import hashlib
import http.client
import logging
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path, PurePosixPath

import filelock
from tqdm import tqdm

from speaker_count.errors import UserError

log = logging.getLogger(__name__)

# SHA-256 of the archives of OpenSLR 12
ARCHIVES = {
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
}
ARCHIVE_BYTES = {
    "dev-clean": 337_926_286,
    "dev-other": 314_305_928,
    "test-clean": 346_663_984,
    "test-other": 328_757_843,
    "train-clean-100": 6_387_309_499,
    "train-clean-360": 23_049_477_885,
    "train-other-500": 30_593_501_606,
}
TRIES = 5  # attempts in a row that receive no byte
TIMEOUT = 30  # seconds of silence
BLOCK = 1 << 16  # bytes; a broken connection loses at most one block
BROKEN = (OSError, http.client.HTTPException)  # urllib's errors are OSErrors
MOST = 2  # bytes of a corpus for each byte of its archive: FLAC files hardly shrink
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def fetch(root: Path, subset: str, url: str, sha256: str | None = None) -> None:
    """Put a subset of LibriSpeech below `root`, unless it exists.

    An archive in `root` is used if its checksum is right; a partial download is resumed. The subset's folder appears
    when it is complete.

    Args:
        root: the folder that holds, or will hold, `LibriSpeech/`; or that folder itself.
        subset: such as `dev-clean`.
        url: of the folder of archives.
        sha256: of the archive; None: the published one.

    Raises:
        UserError: an unknown subset, no connection, a wrong checksum, a damaged archive, or no space.
    """
    target = root if root.name == "LibriSpeech" or (root / "SPEAKERS.TXT").is_file() else root / "LibriSpeech"
    if (target / subset).is_dir():
        return
    if sha256 is None and subset not in ARCHIVES:
        raise UserError(f"LibriSpeech has no subset {subset}; its subsets are {', '.join(ARCHIVES)}")
    archive = root / f"{subset}.tar.gz"
    try:
        target.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(target / f".{subset}.lock"):
            if not (target / subset).is_dir():  # another process may have fetched it in the meantime
                _get(archive, f"{url.rstrip('/')}/{archive.name}", sha256 or ARCHIVES[subset], target)
    except OSError as error:
        raise UserError(
            f"cannot write to {root}: {error.strerror or error}; free some space or change data.root"
        ) from error


def _get(archive: Path, url: str, sha256: str, target: Path) -> None:
    subset = archive.name.removesuffix(".tar.gz")
    if archive.is_file():
        _verify(archive, sha256, remove=False)
        _extract(archive, target, subset)
        return
    part = _download(url, archive.with_name(f"{archive.name}.part"))  # by its name it is ours to remove
    _verify(part, sha256, remove=True)
    _extract(part, target, subset)
    part.unlink()


def _download(url: str, part: Path) -> Path:
    """Download into `part`, which may hold the beginning."""
    tries = 0
    reason: object
    while True:
        have = part.stat().st_size if part.is_file() else 0
        try:
            if _transfer(url, part, have):
                return part
            reason = "the connection ended too early"
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # the file has no bytes beyond these
                return part
            reason, tries = error, TRIES if error.code in (401, 403, 404, 410) else tries
        except BROKEN as error:
            if isinstance(error, OSError) and (error.filename or error.errno in FULL):
                raise  # the disk, not the network
            reason = error
        except ValueError as error:  # not a URL
            reason, tries = error, TRIES
        now = part.stat().st_size if part.is_file() else 0
        tries = 0 if now > have else tries + 1
        if tries >= TRIES:
            kept = f"{now / 1e6:.0f} MB are kept: the same command resumes the download"
            raise UserError(f"cannot download {url}: {reason}. {kept if now else 'Check the network and data.url'}")
        time.sleep(min(2**tries, 30) / 4)


def _transfer(url: str, part: Path, have: int) -> bool:
    """Append the remaining bytes; False if the connection ended too early."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:  # the server ignores the range and sends the whole file
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with (
            open(part, "ab" if have else "wb") as file,
            tqdm(total=total, initial=have, desc=part.stem, unit="B", unit_scale=True, disable=None) as bar,
        ):
            while block := response.read(BLOCK):
                file.write(block)
                have += len(block)
                bar.update(len(block))
    return total is None or have == total


def _verify(archive: Path, sha256: str, remove: bool) -> None:
    with open(archive, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found == sha256:
        return
    if remove:
        archive.unlink()
        mend = "the download was removed; run the same command again"
    else:
        mend = "remove that file and run the same command again to download it"
    raise UserError(f"{archive} is not the published archive: its SHA-256 is {found}, not {sha256}; {mend}")


def _extract(archive: Path, target: Path, subset: str) -> None:
    """Unpack an archive, and put its subset in place when it is complete."""
    partial = target / f".{subset}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed process
    try:
        log.info("extracting %s", archive)
        with Unpacked(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
            for member in tar:  # the filters of `extractall` are not in every Python 3.11
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise tarfile.TarError(f"{member.name} would lie outside of the folder")
                if member.isfile() and (content := tar.extractfile(member)) is not None:  # no links, no devices
                    (partial / path).parent.mkdir(parents=True, exist_ok=True)
                    with open(partial / path, "wb") as file:
                        shutil.copyfileobj(content, file)
        for table in (partial / "LibriSpeech").glob("*.TXT"):
            if not (target / table.name).exists():
                table.rename(target / table.name)
        (partial / "LibriSpeech" / subset).rename(target / subset)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, FileNotFoundError) as error:
        raise UserError(f"{archive} is damaged: {error}; remove it and run the same command again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class Unpacked(gzip.GzipFile):
    """What an archive unpacks to; it ends with an error where that is absurdly much."""

    def __init__(self, archive: Path) -> None:
        super().__init__(archive)
        self._left = MOST * archive.stat().st_size + tarfile.RECORDSIZE

    def read(self, size: int | None = -1) -> bytes:
        """As a file's.

        Raises:
            tarfile.TarError: the archive unpacks to more than `MOST` times its size.
        """
        content = super().read(size)
        self._left -= len(content)
        if self._left < 0:
            raise tarfile.TarError(f"it unpacks to more than {MOST} times its size, which no speech does")
        return content
