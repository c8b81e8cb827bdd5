"""Coarse search of models that write token by token: the candidates that follow the deep model best, run freely.

The divergence of such a model is measured while it reads the deep model's hypothesis (teacher forcing). A pruned model may
follow that well and still run astray once it reads what it wrote itself: whisper-tiny.en without decoder layer 3 has the least
divergence of all four, and three times the errors of the one without layer 2. So the first candidates by divergence recognise some
speech by themselves, and their texts are held against the deep model's. No text of the utterances is read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Hashable, Mapping, Sequence, TypeVar

from comflp.data.data_dir import DataDir
from comflp.inference.output_change import joined
from comflp.inference.speech import Speech
from comflp.proposal import Proposal
from comflp.search.coarse.candidate import Candidate, best_by_cost
from comflp.search.fine.evaluate import evaluate

Key = TypeVar("Key", bound=Hashable)


def ordered_by_free_runs(speech: Speech, lists: Mapping[Key, Sequence[Candidate]], beam_size: int) -> dict[Key, list[Candidate]]:
    """The ``beam_size`` best of each list by divergence and text, best first; ties go to the lower layers.

    speech: the deep model and the utterances, with its hypotheses. lists: candidates whose quality is minus their divergence.
    The new quality is minus the geometric mean of the divergence and twice :func:`text_distances`, since what is written is what counts in
    the end. All lists are run in one prefix tree.
    """
    distances = text_distances(speech, [candidate.proposal for candidates in lists.values() for candidate in candidates])
    return {
        key: best_by_cost({c.proposal: joined([-c.quality, distances[c.proposal], distances[c.proposal]]) for c in candidates}, beam_size)
        for key, candidates in lists.items()
    }


def text_distances(speech: Speech, proposals: Sequence[Proposal]) -> dict[Proposal, float]:
    """The error rate in characters, in [0, 1], of what each pruned model recognises against what the deep one does.

    Capitals and punctuation do not count, and no utterance counts above 1.
    """
    model, utterances = speech.model, speech.data.utterances
    own = model.texts({"own": [list(speech.hypotheses[utterance.utt_id]) for utterance in utterances]}, utterances)["own"]
    heard = DataDir(speech.data.path, [replace(utterance, text=text) for utterance, text in zip(utterances, own)])
    found = evaluate(model, proposals, heard, metric="cer", normaliser="basic", **speech.how)
    return {proposal: found.ranking_rate(proposal) / 100 for proposal in found.counts}
