"""What a fine search is sure of: intervals over whole speakers, and what a race drops by them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from comflp.proposal import PruningProposal
from comflp.search.coarse.candidate import Candidate
from comflp.search.fine.bootstrap import rate_interval
from comflp.search.fine.evaluate import Evaluation, _drop
from comflp.search.fine.ranking import rank


def of_errors(errors, speakers=()):
    """An evaluation of proposals with so many of ten units wrong on each utterance."""
    size = len(next(iter(errors.values())))
    names = [f"u{number:02d}" for number in range(size)]
    counts = {proposal: np.array([[wrong, 0, 0, 10 - wrong] for wrong in row]) for proposal, row in errors.items()}
    return Evaluation("cer", "none", names, counts, {p: dict.fromkeys(names, "") for p in errors}, dict.fromkeys(errors, 0), speakers=speakers)


def test_a_race_drops_what_is_surely_behind_in_each_of_its_lists():
    first, close, shared, worse, worst, coarse = (PruningProposal.parse(str(layer), 6) for layer in range(1, 7))
    result = of_errors({first: [1] * 40, close: [0] * 19 + [2] * 21, shared: [3] * 40, worse: [4] * 40, worst: [5] * 40, coarse: [6] * 40})
    active = list(result.counts)
    _drop(result, active, [[shared, worse], [coarse, first, close, shared, worst]], seed=0)
    assert active == [first, close, shared, coarse], "what a list would choose without decoding stays"
    assert result.dropped == {worse: 40, worst: 40}


def test_every_interval_of_a_ranking_draws_whole_speakers():
    """One of six speakers has all the errors; over single utterances each interval would look far surer."""
    speakers = [f"s{number % 6}" for number in range(60)]
    best, other, nothing = (PruningProposal.parse(text, 4) for text in ("1", "2", "none"))
    deep = of_errors({nothing: [0] * 60}, speakers)
    evaluation = of_errors({best: [speaker == "s0" for speaker in speakers], other: [5 * (speaker == "s0") for speaker in speakers]}, speakers)
    result = replace(rank(evaluation, [Candidate(best, None), Candidate(other, None)]), deep=deep)
    second = result.as_json()["results"][1]
    for name, wrong in (("interval", 5), ("deep_difference_interval", 5), ("difference_interval", 4)):
        assert second[name] == list(rate_interval(np.array([[wrong, 0, 0, 10 - wrong] if s == "s0" else [0, 0, 0, 10] for s in speakers]), speakers=speakers))
        assert second[name][0] == 0, "a draw without that speaker"
    assert second["tied_with_best"]


def test_an_interval_leaves_out_a_fortieth_at_either_end():
    """Of 400 single words, 40 of them wrong: the binomial distribution's own."""
    counts = np.array([[1, 0, 0, 0]] * 40 + [[0, 0, 0, 1]] * 360)
    low, high = rate_interval(counts)
    half = 1.96 * 100 * math.sqrt(0.1 * 0.9 / 400)
    assert (low, high) == pytest.approx((10 - half, 10 + half), abs=0.35)
