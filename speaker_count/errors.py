"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake of the user's, told in one line that says what was wrong, where, and what mends it.

    The commands print it without a traceback and end with exit code 2.
    """
