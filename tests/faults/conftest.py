"""Faults done for real. `make test-faults` runs these tests, and prints how many faults and inputs they tried.

With FULL=1 in the environment, faults at random moments are tried ten times as often.
"""

import os
from collections.abc import Callable

import pytest

FULL = os.environ.get("FULL") == "1"


@pytest.fixture
def tally(record_property) -> Callable[..., None]:
    """Counts what a test does: `tally(faults=1)` for harm done, `tally(inputs=1000)` for bad inputs tried."""

    def count(faults: int = 0, inputs: int = 0) -> None:
        record_property("faults", faults)
        record_property("inputs", inputs)

    return count


def pytest_terminal_summary(terminalreporter) -> None:
    total = {"faults": 0, "inputs": 0}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, number in report.user_properties:
                    if name in total:
                        total[name] += number
    terminalreporter.write_line(f"{total['faults']:,} faults injected, {total['inputs']:,} bad inputs tried")
