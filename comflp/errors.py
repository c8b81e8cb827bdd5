"""What this library raises on purpose, and how its messages show values."""

from typing import Sequence


class ComflpError(Exception):
    """Something the user can put right.

    The message says what is wrong, where (file, line, utterance, option) and
    what to do about it. Stage scripts print it as one line and exit with
    status 1; anything else that escapes is a bug and keeps its traceback.
    """


class NoLanguageError(ComflpError):
    """A model of several languages was loaded without saying which one it is to recognise. languages: their codes."""

    def __init__(self, languages: Sequence[str]):
        super().__init__(f"this model recognises several languages; say which one with --language: {', '.join(languages)}")
        self.languages = tuple(languages)


def shown(value: object) -> str:
    """A value as a message shows it; of a long one, the beginning.

    >>> shown("9" * 5000)
    "'99999999999999999999999999999999999999999999999999999999999..."
    """
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


class ErrorOfMain(ComflpError):
    """The main process met an error and says it; this process, which waited for its decision, only stops."""
