"""How many people are speaking? Experiments on counting concurrent speakers."""

from pathlib import Path

__version__ = "0.1.0"

_here = Path(__file__).parent
CONFIG_DIR = _here / "conf" if (_here / "conf").is_dir() else _here.parent / "conf"  # in a wheel; in a checkout
