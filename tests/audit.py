"""Known advisories, licences and a bill of materials of all dependencies: `make audit`.

The exit code is 1 if a dependency has a known advisory, or a licence that is not allowed. Without a network, advisories
are not looked up, and one line says so.
"""

import argparse
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ADVISORIES = "https://api.osv.dev/v1/query"
FINE = re.compile(
    r"\b(0BSD|MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|LGPL|GNU Lesser|Zlib|CC0|BSL|Boost|HPND"
    r"|Unlicense|Public Domain)\b"
)
COPYLEFT = re.compile(r"(?<!L)GPL")
NVIDIA = re.compile(
    r"(nvidia-|cuda-toolkit$)"
)  # what torch computes on a GPU with; NVIDIA lets everyone redistribute it
GPL = {"espeakng-loader"}  # of the optional extra `demo`, in a process of its own
UNSAID = {"espeakng-loader": "GPL-3.0-or-later", "cuda-toolkit": "NVIDIA Proprietary Software"}  # not in their metadata


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", type=Path, default=Path("requirements.lock"))
    parser.add_argument("--out", type=Path, default=Path("multirun/audit"), help="for what was found, as files")
    parser.add_argument("--advisories", default=ADVISORIES, help="where they are looked up")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    problems = look_up(arguments.lock, arguments.out, arguments.advisories)
    problems += check_licences(names(arguments.lock), arguments.out)
    write_materials(arguments.out / "bom.json")
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


def names(lock: Path) -> list[str]:
    """The names of the packages in a lock that this system needs."""
    lines = (re.split(r" --|\\", line)[0].strip() for line in lock.read_text().splitlines() if re.match(r"\w", line))
    needed = (Requirement(line) for line in lines)
    return sorted({each.name for each in needed if each.marker is None or each.marker.evaluate()})


def look_up(lock: Path, out: Path, url: str) -> list[str]:
    """Look up the advisories of every package in a lock; returns a line for each."""
    reason = unreachable(url)
    if reason:
        print(f"advisories: not looked up, because {url} cannot be reached ({reason})")
        return []
    options = ("-r", lock, "--require-hashes", "--disable-pip", "--format=json", "--progress-spinner=off")
    done = run("pip_audit", *options, "--vulnerability-service=osv", "--osv-url", url)
    if not done.stdout:
        return [f"advisories: {done.stderr.strip().splitlines()[-1]}"]
    (out / "advisories.json").write_text(done.stdout)
    packages = json.loads(done.stdout)["dependencies"]
    found = [(package, advisory) for package in packages for advisory in package.get("vulns", ())]
    print(f"advisories: {len(found)} known of {len(packages)} packages")
    return [
        f"advisory: {package['name']} {package['version']}: {advisory['id']}, "
        f"mended in {', '.join(advisory['fix_versions']) or 'no version yet'}"
        for package, advisory in found
    ]


def unreachable(url: str) -> str:
    """Why an address cannot be reached; empty if it can."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=15).close()
    except urllib.error.HTTPError:
        return ""  # it has answered
    except OSError as error:
        return str(getattr(error, "reason", error))
    return ""


def check_licences(needed: Sequence[str], out: Path) -> list[str]:
    """Compare the licences of the installed packages with the policy; returns a line for each that is not allowed."""
    done = run("piplicenses", "--format=json", "--from=mixed", "--with-system", "--packages", *needed)
    licences = json.loads(done.stdout)
    for package in licences:
        name = canonicalize_name(package["Name"])
        package["License"] = UNSAID.get(name, package["License"])
    (out / "licences.json").write_text(json.dumps(licences, indent=1) + "\n")
    absent = {canonicalize_name(name) for name in needed} - {canonicalize_name(each["Name"]) for each in licences}
    print(
        f"licences: of {len(licences)} packages" + (f"; not installed: {', '.join(sorted(absent))}" if absent else "")
    )
    return [
        f"licence: {package['Name']} {package['Version']}: {package['License']}"
        for package in licences
        if not is_allowed(package["Name"], package["License"])
    ]


def is_allowed(package: str, licence: str) -> bool:
    """Whether a package may have a licence: a permissive one, LGPL or MPL; few packages may have others."""
    package = canonicalize_name(package)
    if NVIDIA.match(package) and "Proprietary" in licence:
        return True
    if package in GPL and COPYLEFT.search(licence):
        return True
    parts = re.split(r" AND |;", re.sub(r" WITH [\w.-]+", "", licence))
    return all(any(map(_is_fine, part.split(" OR "))) for part in parts)


def _is_fine(licence: str) -> bool:
    return FINE.search(licence) is not None and COPYLEFT.search(licence) is None


def write_materials(path: Path) -> None:
    """Write a bill of materials of what is installed, in the CycloneDX format."""
    options = ("--output-reproducible", "--no-validate", "--output-file", path)  # validating takes half a minute
    done = run("cyclonedx_py", "environment", *options, sys.executable)
    if done.returncode:
        sys.exit(f"bill of materials: {done.stderr.strip()}")
    print(f"bill of materials: {path}, {len(json.loads(path.read_text())['components'])} packages")


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True)


if __name__ == "__main__":
    main()
