"""The one exception that means: the user can mend this."""

import errno

SYSTEM = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}  # no permission, no space


class UserError(Exception):
    """A mistake of the user's, told in one line that says what was wrong, where, and what mends it.

    The commands print it without a traceback and end with exit code 2.
    """


def user_error(error: BaseException | None) -> UserError | None:
    """What the user can mend behind an error, if anything: Hydra wraps what a constructor raises."""
    while error is not None and not isinstance(error, UserError):
        if isinstance(error, OSError) and error.errno in SYSTEM:
            path = error.filename2 or error.filename
            where = f" ({path})" if path else ""
            return UserError(f"cannot write or read: {error.strerror}{where}; free some space or name another folder")
        error = error.__cause__
    return error


def check_number(key: str, value: object, kind: type, least: float | None = None) -> None:
    """See that a value from a config is an `int` or a `float` (or a `bool`), and not below `least`.

    Raises:
        UserError: it is not.
    """
    fits = isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not fits or (least is not None and not least <= value < float("inf")):
        name = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise UserError(f"{key}={value}: expected {name}" + (f", at least {least}" if least is not None else ""))


def check_list(key: str, value: object) -> None:
    """See that a value from a config is a list of names, or None.

    Raises:
        UserError: it is not.
    """
    if value is not None and (isinstance(value, str) or not all(isinstance(name, str) for name in value)):
        raise UserError(f"{key}={value}: expected a list, such as {key}=[a,b]")
