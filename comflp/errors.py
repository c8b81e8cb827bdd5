"""The one exception that this library raises on purpose."""


class ComflpError(Exception):
    """Something the user can put right.

    The message says what is wrong, where (file, line, utterance, option) and
    what to do about it. Stage scripts print it as one line and exit with
    status 1; anything else that escapes is a bug and keeps its traceback.
    """
