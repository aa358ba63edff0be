"""Get LibriSpeech from OpenSLR: resumable, verified, extracted whole or not at all."""

import errno
import hashlib
import http.client
import logging
import shutil
import tarfile
import time
import urllib.error
import urllib.request
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
ARCHIVE_BYTES = {  # how large they are
    "dev-clean": 337_926_286,
    "dev-other": 314_305_928,
    "test-clean": 346_663_984,
    "test-other": 328_757_843,
    "train-clean-100": 6_387_309_499,
    "train-clean-360": 23_049_477_885,
    "train-other-500": 30_593_501_606,
}
TRIES = 5  # in a row without a byte
TIMEOUT = 30  # seconds of silence
BLOCK = 1 << 16  # a connection that breaks loses what it sent of one
BROKEN = (OSError, http.client.HTTPException)  # urllib's errors are OSErrors
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def fetch(root: Path, subset: str, url: str, sha256: str | None = None) -> None:
    """Put a subset of LibriSpeech below `root`, unless it is there.

    An archive that lies in `root` already is used if its checksum is right; what was downloaded of one before is gone
    on with. The subset's folder appears when it is complete.

    Args:
        root: the folder that holds, or will hold, `LibriSpeech/`; or that folder itself.
        url: the folder of archives.
        sha256: of the archive; None: the published one.

    Raises:
        UserError: no such subset, no connection, a wrong checksum, a damaged archive, or no space.
    """
    target = root if root.name == "LibriSpeech" or (root / "SPEAKERS.TXT").is_file() else root / "LibriSpeech"
    if (target / subset).is_dir():
        return
    if sha256 is None and subset not in ARCHIVES:
        raise UserError(f"LibriSpeech has no subset {subset}; there are {', '.join(ARCHIVES)}")
    archive = root / f"{subset}.tar.gz"
    try:
        target.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(target / f".{subset}.lock"):
            if not (target / subset).is_dir():  # another process may have got it meanwhile
                _get(archive, f"{url.rstrip('/')}/{archive.name}", sha256 or ARCHIVES[subset], target)
    except OSError as error:
        raise UserError(
            f"cannot write to {root}: {error.strerror or error}; free some space or change data.root"
        ) from error


def _get(archive: Path, url: str, sha256: str, target: Path) -> None:
    ours = not archive.is_file()
    if ours:
        part = _download(url, archive.with_name(f"{archive.name}.part"))
        _verify(part, sha256, remove=True)
        part.rename(archive)
    else:
        _verify(archive, sha256, remove=False)
    _extract(archive, target, archive.name.removesuffix(".tar.gz"))
    if ours:
        archive.unlink()


def _download(url: str, part: Path) -> Path:
    """Download into `part`, from where it ends."""
    tries = 0
    while True:
        have = part.stat().st_size if part.is_file() else 0
        try:
            if _transfer(url, part, have):
                return part
            reason: object = "the connection ended too early"
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # nothing is left of it
                return part
            reason, tries = error, TRIES if error.code in (401, 403, 404, 410) else tries
        except BROKEN as error:
            if isinstance(error, OSError) and (error.filename or error.errno in FULL):
                raise  # not the network: the disk
            reason = error
        except ValueError as error:  # no URL
            reason, tries = error, TRIES
        now = part.stat().st_size if part.is_file() else 0
        tries = 0 if now > have else tries + 1
        if tries >= TRIES:
            kept = f"{now / 1e6:.0f} MB of it are kept, the same command goes on from there"
            raise UserError(f"cannot download {url}: {reason}. {kept if now else 'Check the network and data.url'}")
        time.sleep(min(2**tries, 30) / 4)


def _transfer(url: str, part: Path, have: int) -> bool:
    """Append what is left; False if it ended too early."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:  # the server sends all of it
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
        mend = "what was downloaded is removed; give the same command again"
    else:
        mend = "remove that file and give the same command again, which downloads it"
    raise UserError(f"{archive} is not the published archive: its SHA-256 is {found}, not {sha256}; {mend}")


def _extract(archive: Path, target: Path, subset: str) -> None:
    partial = target / f".{subset}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        log.info("extracting %s", archive)
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:  # the filters of `extractall` are not in every Python 3.11
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise tarfile.TarError(f"{member.name} would lie outside of the folder")
                if member.isfile():  # no links, no devices
                    (partial / path).parent.mkdir(parents=True, exist_ok=True)
                    with open(partial / path, "wb") as file:
                        shutil.copyfileobj(tar.extractfile(member), file)
        for table in (partial / "LibriSpeech").glob("*.TXT"):
            if not (target / table.name).exists():
                table.rename(target / table.name)
        (partial / "LibriSpeech" / subset).rename(target / subset)
    except (tarfile.TarError, EOFError, FileNotFoundError) as error:
        raise UserError(f"{archive} is damaged: {error}; remove it and give the same command again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
