"""Changes that make valid files odd. Hypothesis draws three numbers; they say where, what, and how."""

import contextlib
import copy
import math
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies

from speaker_count.errors import UserError

CHANGE = strategies.tuples(*[strategies.integers(0, 2**24)] * 3)
GIGABYTES = 4  # of address space that a test may take beyond what it begins with
PATIENCE = 280  # seconds that a test has


def deep(levels: int) -> list:
    """A list in a list in a list."""
    return [deep(levels - 1)] if levels else []


TEXTS = (
    *(
        "",
        " ",
        "1",
        "-1",
        "nan",
        "null",
        "true",
        "x",
        "é",
        "ß\u0301",
        "\U0001f600",
        "\u202e",
        "\u2028",
        "\x85",
        "\ud800",
    ),
    *("\n", "a\nb", "\r", "\0", "\x1b[31mred", "|", ",", '"', "'", ";", "#", "\\", "/", "..", "../../etc", "~nobody/x"),
    *("${oc.env:HOME}", "???", "_target_", "{}", "%s", "x" * 10_000, "F", "M", "X", "train", "baseline"),
)
NUMBERS = (
    *(0, 1, 2, 3, 7, -1, 0.5, -0.5, 1e-300, 1e15, 1e16, 1e300, -1e300, math.nan, math.inf, -math.inf, 1000, 48_000),
    *(2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), 10**9, 10**12, 10**30, 10**400, -(10**400)),
)
ODD: tuple[Any, ...] = (
    *(*NUMBERS, *TEXTS, None, True, False, [], {}, [[]], [None], [1], [0], [1, 2], [1, 2, 3], [3, 2, 1], [True, 2]),
    *([1, 10**9], [math.nan], ["a"], ["\n"], [1, "a"], {"": 1}, {"a": None}, {"_target_": "os.system"}, {"\ud800": 0}),
    *(deep(3), deep(300), [0] * 1000, {"train": 1, "validation": 1, "test": 1}, {"train": "x"}, {"test": [1]}),
)


KINDS = (
    *(pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.null()),
    *(pa.string(), pa.large_string(), pa.binary(), pa.date32(), pa.timestamp("ns"), pa.duration("s"), pa.time64("us")),
    *(
        pa.decimal128(38, 2),
        pa.list_(pa.string()),
        pa.list_(pa.int64()),
        pa.list_(pa.float32()),
        pa.large_list(pa.string()),
    ),
    *(
        pa.list_(pa.int64(), 2),
        pa.list_(pa.list_(pa.int64())),
        pa.struct([("a", pa.int64())]),
        pa.map_("string", "int8"),
    ),
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int8(), pa.int64())),
)
COLUMN = (
    0,
    1,
    2,
    -1,
    2**62,
    0.5,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "1",
    "F",
    "X",
    "train",
    "a\nb",
    b"\xff",
    True,
    [1],
    ["a"],
    [],
)


def cases(number: int, *given: strategies.SearchStrategy) -> Callable[[Callable], Callable]:
    """Runs a function on examples, the same ones each time."""
    settings = hypothesis.settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    return lambda function: settings(hypothesis.given(*given)(function))


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Let an absurd allocation fail, and a test that hangs."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + GIGABYTES * 2**30, before[1]))
    handler = signal.signal(signal.SIGALRM, _out_of_patience)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


class Rewritten:
    """A file that is given one content after another; it stays open, as opening a file anew may take milliseconds."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, open(path, "wb", buffering=0)  # noqa: SIM115

    def put(self, content: bytes | str) -> None:
        content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        self._file.seek(0)
        self._file.write(content)
        self._file.truncate()


def _out_of_patience(*_: object) -> None:
    raise TimeoutError(f"the test takes longer than {PATIENCE} s")


def attempt(function: Callable, *arguments: Any) -> Any:
    """What a function returns; None if it raises a UserError, which must be one line that any terminal shows."""
    try:
        return function(*arguments)
    except UserError as error:
        assert_one_line(str(error))
        return None


def assert_one_line(text: str) -> None:
    assert text.isprintable(), ascii(text)


def odd_tree(tree: Any, change: tuple[int, int, int]) -> Any:
    """A copy of JSON values with one to three of them replaced, removed, added or wrapped."""
    where, what, how = change
    tree = [copy.deepcopy(tree)]
    for _ in range(1 + how % 3):
        places = list(_places(tree))
        holder, key = places[where % len(places)]
        value = copy.deepcopy(ODD[what % len(ODD)])
        operation = how // 3 % 8
        if operation == 0 and holder is not tree:
            del holder[key]
        elif operation == 1 and isinstance(holder[key], dict):
            holder[key][TEXTS[where % len(TEXTS)]] = value
        elif operation == 1 and isinstance(holder[key], list):
            holder[key].append(value)
        elif operation == 2:
            holder[key] = [holder[key]]
        elif operation == 3:
            holder[key] = {TEXTS[what % len(TEXTS)]: holder[key]}
        else:
            holder[key] = value
        where, what, how = where // len(places) + what, what // len(ODD) + how, how // 5 + where
    return tree[0]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a tree, as what holds it and its key there."""
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
            yield holder, key
            if isinstance(value, dict | list) and len(value) < 100:
                waiting.append(value)


def parquet(table: pa.Table) -> bytes | None:
    """The content of a Parquet file; None where the format lacks a column's type."""
    file = pa.BufferOutputStream()
    try:
        pq.write_table(table, file)
    except pa.ArrowNotImplementedError:
        return None
    return file.getvalue().to_pybytes()


def odd_table(table: pa.Table, change: tuple[int, int, int]) -> pa.Table:
    """A table with one or two of its columns replaced, removed, renamed or doubled, or with other rows."""
    where, what, how = change
    for _ in range(1 + how % 2):
        place = where % table.num_columns
        name, column = table.column_names[place], table.column(place)
        operation = how // 2 % 8
        if operation == 0 and table.num_columns > 1:
            table = table.remove_column(place)
        elif operation == 1:
            renamed = TEXTS[what % len(TEXTS)].encode(errors="replace").decode()
            table = table.rename_columns([*table.column_names[:place], renamed, *table.column_names[place + 1 :]])
        elif operation == 2:
            table = table.slice(what % (len(table) + 1), how % 7)
        elif operation == 3:
            table = pa.concat_tables([table, table.slice(0, 1 + what % 4)])
        elif operation == 4:
            table = table.append_column(name, column)
        elif operation == 5:
            table = table.set_column(place, name, _odd_column(what, len(table)))
        else:
            table = table.set_column(place, name, _odd_value(column, what, how))
        where, what, how = where // 7 + what, what // 5 + how, how // 16 + where
    return table


def _odd_column(number: int, size: int) -> pa.Array:
    """A column of one of many types."""
    kind = KINDS[number % len(KINDS)]
    if number // len(KINDS) % 3 == 0:
        return pa.nulls(size, kind)
    values = COLUMN[number % len(COLUMN)]
    try:
        return pa.array([values] * size, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array([values] * size)


def _odd_value(column: pa.ChunkedArray, what: int, how: int) -> pa.Array:
    """A column with one odd value; null where its type has no such value."""
    values = column.to_pylist()
    if not values:
        return column
    row, value = how % len(values), copy.deepcopy(ODD[what % len(ODD)])
    inside = isinstance(values[row], list) and values[row] and how // 7 % 2
    values[row] = [value, *values[row][1:]] if inside else value
    try:
        return pa.array(values, column.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        values[row] = [None] if inside else None
        return pa.array(values, column.type)


def odd_bytes(content: bytes, change: tuple[int, int, int]) -> bytes:
    """A copy of a file with one to three places flipped, cut out, doubled or overwritten."""
    where, what, how = change
    for _ in range(1 + how % 3):
        place = where % (len(content) + 1)
        length = 1 + what % 8 if what % 3 else 1 + what % (len(content) + 1)
        text = TEXTS[what % len(TEXTS)].encode("utf-8", "surrogatepass")
        operation = how // 3 % 7
        if operation == 0:
            content = content[:place]
        elif operation == 1:
            content = content[:place] + content[place + length :]
        elif operation == 2:
            content = content[:place] + text + content[place:]
        elif operation == 3:
            content = content[:place] + text + content[place + len(text) :]
        elif operation == 4:
            content = content[:place] + content[place : place + length] * 2 + content[place + length :]
        else:
            flipped = bytes(byte ^ (1 << what % 8) for byte in content[place : place + 1 + how % 3])
            content = content[:place] + flipped + content[place + len(flipped) :]
        where, what, how = where // 7 + what * 31, what // 11 + how, how // 5 + where
    return content
