"""The option --num-prune of stages 3 and 4: how many layers to remove, once or in several ways."""

from comflp.errors import ComflpError


def parse_num_prune(text, num_layers):
    """Ascending list of N from ``6``, ``4,6,8`` (or with spaces) or a range ``1:8`` with both ends.

    >>> parse_num_prune("8,1:3", num_layers=12)
    [1, 2, 3, 8]

    Raises ComflpError for another form, or an N outside 1 to L-1.
    """
    found = set()
    for part in text.replace(",", " ").split():
        first, _, last = part.partition(":")
        if not first.isdigit() or not (last or first).isdigit() or part.endswith(":"):
            raise ComflpError(f"--num-prune {text}: {part!r} is neither a number nor a range such as 1:8")
        found.update(range(int(first), int(last or first) + 1))
    if not found:
        raise ComflpError(f"--num-prune {text!r} holds no number of layers")
    for number in sorted(found):
        if not 1 <= number <= num_layers - 1:
            raise ComflpError(f"--num-prune {text}: cannot remove {number} of {num_layers} layers; N is from 1 to {num_layers - 1}")
    return sorted(found)
