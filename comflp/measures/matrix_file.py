"""Reading a matrix that a stage, or a user, left as .npy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from comflp.artifacts import check_file
from comflp.errors import ComflpError


def read_matrix(path: str | Path) -> np.ndarray:
    """The array of a .npy file; ComflpError names the file where it is missing, damaged, or holds Python objects."""
    check_file(path)
    try:
        with open(path, "rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise ComflpError(f"{path} is not a .npy file")
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise ComflpError(f"{path} does not exist") from None
    except ComflpError:
        raise
    except Exception as error:  # numpy reads the header as Python text, and lets through whatever that raises
        raise ComflpError(f"{path} cannot be read as a .npy array: {error}") from None
