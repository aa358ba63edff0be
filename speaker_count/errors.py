"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake of the user's, told in one line that says what was wrong, where, and what mends it.

    The commands print it without a traceback and end with exit code 2.
    """


def user_error(error: BaseException | None) -> UserError | None:
    """The user's mistake behind an error, if there is one: Hydra wraps what a constructor raises."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error
