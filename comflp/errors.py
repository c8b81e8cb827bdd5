"""The exceptions that this library raises on purpose: one, and what the other processes of a run hear of it."""


class ComflpError(Exception):
    """Something the user can put right.

    The message says what is wrong, where (file, line, utterance, option) and
    what to do about it. Stage scripts print it as one line and exit with
    status 1; anything else that escapes is a bug and keeps its traceback.
    """


class ErrorOfMain(ComflpError):
    """The main process met an error and says it; this process, which waited for its decision, only stops."""
