"""Damaged files, made by hypothesis from sound ones; and the one thing that may come of reading them."""

import traceback

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from comflp.errors import ComflpError

CASES = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
"""The same cases in every run; a longer search: --hypothesis-seed with a larger max_examples."""


@st.composite
def damaged(draw, content: bytes, header: int = 0):
    """``content`` cut off, overwritten, enlarged or replaced; damage falls on the first ``header`` bytes if given."""
    end = min(header or len(content), len(content))
    kind = draw(st.sampled_from(["cut", "overwrite", "overwrite", "overwrite", "insert", "remove", "replace"]))
    if kind == "replace":
        return draw(st.binary(max_size=200))
    place = draw(st.integers(0, end - 1))
    if kind == "cut":
        return content[:place]
    if kind == "remove":
        return content[:place] + content[place + draw(st.integers(1, 16)) :]
    new = draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\0" * 8, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\n"])))
    return content[:place] + new + content[place + (len(new) if kind == "overwrite" else 0) :]


def outcome(read, *names):
    """What ``read()`` returns, or None where it raised a ComflpError that mentions one of ``names``.

    Every other exception, and a message that names none of them, fails the test.
    """
    try:
        return read()
    except ComflpError as error:
        assert any(str(name) in str(error) for name in names), f"the message names none of {names}: {error}"
        return None
    except Exception:
        raise AssertionError(f"not a ComflpError:\n{traceback.format_exc()}") from None
