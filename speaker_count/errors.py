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
