"""Mistakes that the user can mend, and the checks of values from a config that raise them."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Any

# no permission, no space, a limit on files (ulimit -f), a link where none is followed, a name that is too long
SYSTEM = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}
NO_HOME = "Could not determine home directory"  # Python's, where a path begins with ~
# in messages of Python, torch and the linker; of those who raise them only Python has a class for it
NO_MEMORY = ("allocate memory", "out of memory", "failed to map segment")
# the extras of pyproject.toml, and the modules that a user may lack who has not installed them. Where only a picture or
# a data frame needs matplotlib or pandas, `needed_by` says so; all else that needs them needs `train`, which has them.
EXTRAS = {
    "demo": {"espeakng_loader"},
    "export": {"onnx", "onnxscript"},
    "microphone": {"sounddevice"},
    "search": {"optuna", "sqlalchemy"},
    "tensorboard": {"tensorboard"},
    "train": {
        *("filelock", "hydra", "jinja2", "joblib", "matplotlib", "omegaconf", "pandas", "pyarrow"),
        *("pytorch_lightning", "safetensors", "scipy", "sklearn", "submitit", "threadpoolctl", "torch", "torchaudio"),
        *("torchmetrics", "wandb", "wandb_workspaces", "yaml"),
    },
    "video": {"av"},
}


def printable(text: str) -> str:
    """A text from anywhere, in one line: what moves a terminal's cursor, changes its colours or turns the direction of
    writing becomes a code, such as `\\x1b`.
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its class where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class UserError(Exception):
    """A mistake of the user's: one line says what was wrong, where, and what mends it.

    The commands print it without a traceback and end with exit code 2. It may name what comes from anywhere.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class DivergedError(UserError):
    """A run whose loss is infinite or not a number: it cannot learn any more."""


class MissingPackageError(UserError, ImportError):
    """A package of an extra is not installed."""


def missing(what: str, module: str, extras: str | None = None) -> MissingPackageError:
    """The error that something needs a package that is not installed.

    Args:
        what: needs it.
        module: the package's name in Python.
        extras: that have it, if not those of `EXTRAS`.
    """
    return MissingPackageError(f"{what} needs {module}, which is not installed: {install(extras or _extra(module))}")


def install(extras: str) -> str:
    """The command that installs extras."""
    return f"pip install 'speaker-count[{extras}]'"


@contextlib.contextmanager
def needed_by(what: str, extras: str | None = None) -> Iterator[None]:
    """Where something imports packages of extras; arguments as of `missing`.

    Raises:
        MissingPackageError: one of them is not installed. Other modules that are missing stay an error of their own.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if not _extra(error.name):
            raise
        raise missing(what, str(error.name), extras) from error


def _extra(module: str | None) -> str:
    """The extra that has a module; empty: none."""
    return next((extra for extra, modules in EXTRAS.items() if module in modules), "")


def user_error(error: BaseException | None, what: str = "speaker-count") -> UserError | None:
    """The user's mistake behind an error, or None: Hydra wraps what a constructor raises.

    Args:
        what: the command, for the message that it needs a package.
    """
    while error is not None and not isinstance(error, UserError):
        if isinstance(error, ModuleNotFoundError) and _extra(error.name):
            return missing(what, str(error.name))
        if isinstance(error, OSError) and error.errno in SYSTEM:
            path = error.filename2 or error.filename
            where = f" ({path})" if path else ""
            return UserError(f"cannot write or read: {error.strerror}{where}; free some space or name another folder")
        if isinstance(error, RuntimeError) and NO_HOME in str(error):
            return UserError("a path begins with ~ or ~NAME, and there is no such home directory: name the whole path")
        if _is_out_of_memory(error):
            return UserError(
                f"not enough memory ({first_line(error)}): raise the limit (ulimit -v), end other processes, or choose "
                "fewer jobs (hydra.launcher.jobs) or a smaller data.batch_size"
            )
        error = error.__cause__
    return error


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, ImportError | RuntimeError) and any(words in str(error) for words in NO_MEMORY)


def check_number(key: str, value: Any, kind: type, least: float | None = None) -> None:
    """Check that a value from a config is an `int`, a `float` or a `bool`, as `kind` says, and at least `least`.

    Raises:
        UserError: the value is of another kind, below `least`, infinite or not a number.
    """
    fits = isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not fits or (least is not None and not least <= value < float("inf")):
        name = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise UserError(f"{key}={value}: expected {name}" + (f", at least {least}" if least is not None else ""))


def check_list(key: str, value: Any) -> None:
    """Check that a value from a config is a list of names, or None.

    Raises:
        UserError: the value is something else.
    """
    if value is not None and (isinstance(value, str) or not all(isinstance(name, str) for name in value)):
        raise UserError(f"{key}={value}: expected a list, such as {key}=[a,b]")


def made(key: str, make: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """What a partial of the config makes.

    Raises:
        UserError: it does not take its arguments.
    """
    try:
        return make(*arguments, **settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"{key}: {first_line(error)}") from error
