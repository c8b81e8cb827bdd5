"""The docstrings as Markdown, for mkdocs: doctests become blocks of code, roles such as :class:`Stack` code, parameters a list."""

import re
from typing import Any

import griffe

_PARAMETERS = re.compile(r"(?m)^([a-z]\w*(?:, \w+)*): ")


class Markdown(griffe.Extension):
    """What mkdocs.yml names as an extension of the reader of docstrings."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", obj.docstring.value)
            parts = text.split("\n\n")
            obj.docstring.value = "\n\n".join(
                f"```pycon\n{part}\n```" if part.startswith(">>>") else _PARAMETERS.sub(r"\n- `\1`: ", part) for part in parts
            )
