"""Kinds of change by hand: to the nearest frame, of the text, and two of them together."""

from types import SimpleNamespace

import pytest
import torch

from comflp.errors import ComflpError
from comflp.inference.output_change import CHANGES, joined, model_divergence, output_changes
from comflp.inference.speech import Speech
from comflp.models.layered import Output
from comflp.proposal import PruningProposal
from comflp.scoring import error_rate

LABELS = "-abc"


def output(*rows, frames=None):
    """Outputs whose frames nearly all say one label each: ``"a-b"``; frames: how many are each utterance's own."""
    logits = torch.nn.functional.one_hot(torch.tensor([[LABELS.index(label) for label in row] for row in rows]), len(LABELS)) * 8.0
    return Output(logits, torch.tensor(frames or [len(row) for row in rows]))


def change(kind, deep, pruned):
    tokenizer = SimpleNamespace(blank_id=0, decode=lambda labels: "".join(LABELS[label] for label in labels))
    total, weight = CHANGES[kind](SimpleNamespace(tokenizer=tokenizer), None, deep)(pruned).tolist()
    return total / weight


def test_a_frame_of_delay_is_no_change_to_the_nearest_frame():
    deep, late, later = output("--a-b---"), output("---a-b--"), output("----a-b-")
    assert change("kl", deep, late) > 3 and change("near", deep, late) == pytest.approx(0, abs=1e-6)
    assert change("near", deep, later) > 1
    assert change("near", deep, output("--c-b---")) == pytest.approx(change("kl", deep, output("--c-b---")) , rel=0.2)


def test_frames_of_padding_are_no_neighbours():
    deep, pruned = output("--aa", frames=[3]), output("--ba", frames=[3])
    assert change("near", deep, pruned) == pytest.approx(change("kl", deep, pruned)) and change("near", deep, pruned) > 1


def test_the_distance_is_in_characters_of_the_deep_models_text():
    assert change("text", output("a-b-", "----", "cc-c"), output("a-c-", "-a--", "c---")) == pytest.approx(3 / (2 + 1 + 2))
    assert change("text", output("a-b-"), output("aab-")) == 0


def test_two_kinds_are_joined_by_their_geometric_mean(make_model, make_data):
    speech = Speech(make_model(num_layers=4), make_data(5))
    proposals = [PruningProposal.parse(layers, 4) for layers in ("1", "2-3", "4")]
    near, text, both = (output_changes(speech, proposals, kind) for kind in ("near", "text", "near+text"))
    for proposal in proposals:
        assert both[proposal] == pytest.approx((near[proposal] * (text[proposal] + 0.001)) ** 0.5, rel=1e-6) and both[proposal] > 0
        texts = [[model.tokenizer.decode(labels) for labels in heard(model, speech)] for model in (speech.model, speech.model.prune(proposal))]
        references, found = ({str(number): one for number, one in enumerate(column)} for column in texts)
        if all(references.values()):
            assert 100 * text[proposal] == pytest.approx(error_rate(references, found).rate)
    assert joined([0.3]) == 0.3 and joined([0.0, 0.0]) == 0.0


def heard(model, speech):
    """The labels of each utterance alone, by its best path."""
    from comflp.data.batching import load_batch
    from comflp.models.greedy import best_paths, labels_of

    for utterance in speech.data:
        with torch.no_grad():
            found = model(load_batch([utterance], model.sample_rate))
        yield labels_of(best_paths(found.logits, found.num_frames), model.tokenizer.blank_id)[0].tolist()


def test_an_output_that_is_not_finite_names_the_layers(make_model, make_data):
    model = make_model(num_layers=3)
    model.stacks["encoder"].layers[2].linear2.bias.data.fill_(float("nan"))
    with pytest.raises(ComflpError, match="not finite|NaN|nan"):
        output_changes(Speech(model, make_data(3)), [PruningProposal.parse("1", 3)], "near+text")
    with pytest.raises(ComflpError, match="the model's output is not finite .* for utterance u00"):
        model_divergence(Speech(make_model(num_layers=3), make_data(3)), model)
