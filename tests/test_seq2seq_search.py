"""Two stacks through measures, searches and decoding: what the shared walk says is what each pruned model says by itself."""

import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fixtures.encoder_decoders import MAKERS, load_small
from fixtures.whisper import SAMPLE_RATE, make_whisper

import comflp.models
from comflp.data.data_dir import DataDir, Utterance
from comflp.errors import ComflpError
from comflp.experiment import hypotheses_directory
from comflp.inference.decode import decode
from comflp.inference.device import evaluation
from comflp.inference.hidden_states import average
from comflp.inference.hypotheses import on_own_hypotheses, read_hypotheses, write_hypotheses
from comflp.inference.loop import load_batches
from comflp.inference.output_change import output_changes
from comflp.inference.speech import Speech
from comflp.locks import locked
from comflp.measures.skip import skip_costs
from comflp.proposal import PruningProposal
from comflp.search.coarse.block_matrix import BlockMatrix
from comflp.search.coarse.joint import joint_searches
from comflp.search.fine.evaluate import evaluate
from comflp.target import layer_counts

LOCAL = Path(__file__).resolve().parents[1] / "local"
DEPTHS = {"encoder": 3, "decoder": 3}
HYPOTHESES = {"u0": (0, 1, 2), "u1": (3,), "u2": (4, 4, 1, 0)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = make_whisper(tmp_path_factory.mktemp("whisper"), encoder_layers=3, decoder_layers=3, seed=6)
    return comflp.models.load(directory, language="it")


@pytest.fixture(scope="module", params=MAKERS)
def each(request, model, tmp_path_factory):
    """A model of each family."""
    if request.param is make_whisper:
        return model
    return load_small(request.param, tmp_path_factory.mktemp("model"), encoder_layers=3, decoder_layers=3, seed=6)


@pytest.fixture
def data(tmp_path):
    rng, utterances = np.random.default_rng(0), []
    for number, seconds in enumerate((0.5, 0.8, 0.8)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, 0.2 * rng.standard_normal(int(seconds * SAMPLE_RATE)), SAMPLE_RATE)
        utterances.append(Utterance(f"u{number}", str(path), "abc de", "s", seconds))
    return DataDir(tmp_path, utterances)


def log_posteriors(model, data):
    """Utterance -> log-posteriors of its own rows, teacher-forced on HYPOTHESES, each utterance alone."""
    found = {}
    with evaluation(model):
        for utterance, batch in zip(data, load_batches(model, [[utterance] for utterance in data])):
            output = model(batch.with_targets([HYPOTHESES[utterance.utt_id]]))
            assert int(output.num_frames) == len(HYPOTHESES[utterance.utt_id]) + 1, "its tokens and its end"
            found[utterance.utt_id] = output.log_probs()[0, : int(output.num_frames)]
    return found


def test_divergence_is_that_of_each_pruned_model_by_itself(each, data):
    texts = ("encoder=2", "decoder=1", "decoder=2-3", "encoder=1+decoder=3")
    proposals = [PruningProposal.parse(text, DEPTHS) for text in texts]
    found = output_changes(Speech(each, data, hypotheses=HYPOTHESES), proposals, "kl")
    deep = log_posteriors(each, data)
    for proposal in proposals:
        pruned = log_posteriors(each.prune(proposal), data)
        total = sum(float((rows.exp() * (rows - pruned[key])).sum()) for key, rows in deep.items())
        assert found[proposal] == pytest.approx(total / sum(map(len, deep.values())), rel=1e-3)


def test_what_a_layer_makes_of_the_encoders_output_is_made_once_for_all_pruned_decoders(each, data):
    """A complete decoder, and one without each of its layers: each layer but the first runs twice or more for a batch."""
    runs = []
    hooks = [layer.encoder_attn.k_proj.register_forward_hook(lambda *_, number=number: runs.append(number))
             for number, layer in enumerate(each.decoder.layers)]
    output_changes(Speech(each, data, hypotheses=HYPOTHESES), [PruningProposal.parse(f"decoder={layer}", DEPTHS) for layer in (1, 2, 3)], "kl")
    for hook in hooks:
        hook.remove()
    assert len(runs) == 3 * runs.count(0) and set(runs) == {0, 1, 2}


def test_texts_are_those_of_each_pruned_model_by_itself(each, data):
    proposals = [each.nothing, *(PruningProposal.parse(text, DEPTHS) for text in ("encoder=2", "decoder=1", "encoder=2+decoder=3"))]
    found = evaluate(each, proposals, data, metric="wer", hypotheses=HYPOTHESES)
    assert found.layer_runs == found.num_batches * (3 + 1), "the encoder's layers once a distinct prefix, no decoder layer"
    assert len({str(texts) for texts in found.texts.values()}) > 1 and any(found.texts[each.nothing].values())
    for proposal in proposals:
        assert found.texts[proposal] == decode(each.prune(proposal), data, hypotheses=HYPOTHESES)


def test_a_search_that_does_not_end_is_cut_off_at_twice_the_deep_models_tokens(model, data):
    found = evaluate(model, [model.nothing], data, hypotheses=HYPOTHESES)
    for utt_id, text in found.texts[model.nothing].items():
        assert len(model.tokenizer.encode(text)) <= 2 * len(HYPOTHESES[utt_id]) + 8


def test_what_runs_into_the_limit_is_counted_and_capped(model, data, monkeypatch):
    """A model that repeats itself for ever: cut off at its limit on each utterance, and no worse than one that says nothing."""
    monkeypatch.setattr(model, "spell", lambda state, proposal=None: [[0] * limit for limit in model._limits(state)])
    found = evaluate(model, [model.nothing], data, metric="wer", hypotheses=HYPOTHESES)
    assert found.ran_into_limit == {model.nothing: len(data)}
    assert found.ranking_rate(model.nothing) == found.capped_error_rate(model.nothing).rate <= 100
    again = decode(model, data, hypotheses=HYPOTHESES)
    assert again.ran_into_limit == len(data) and dict(again) == found.texts[model.nothing]
    monkeypatch.setattr(model, "spell", lambda state, proposal=None: [[1, 2]] * len(state.hidden))
    assert decode(model, data, hypotheses=HYPOTHESES).ran_into_limit == 0


def test_hypotheses_are_kept_in_a_file_and_endless_ones_left_out_from_there(model, data, tmp_path):
    known = {"u0": (0, 1), "u1": (2,) * model.most_tokens, "u2": ()}
    write_hypotheses(tmp_path / "hypotheses.json", known, model.most_tokens)
    assert read_hypotheses(tmp_path / "hypotheses.json") == known
    with pytest.warns(UserWarning, match="does not end on 1 of 3 utterances"):
        speech = on_own_hypotheses(Speech(model, data), read_hypotheses(tmp_path / "hypotheses.json"))
    assert speech.hypotheses == {"u0": (0, 1), "u2": ()}
    (tmp_path / "hypotheses.json").write_text("{}")
    with pytest.raises(ComflpError, match="hypotheses.json has no key .utterances."):
        read_hypotheses(tmp_path / "hypotheses.json")


def test_a_run_waits_for_one_that_writes_the_same_hypotheses(data, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(LOCAL))
    from inference_options import hypotheses_of

    directory = make_whisper(tmp_path / "deep", encoder_layers=1, decoder_layers=1, seed=6)
    speech = Speech(comflp.models.load(directory, language="it"), data)
    out = hypotheses_directory(directory, data.path.name)
    with locked(out):
        waiting = threading.Thread(target=hypotheses_of, args=(directory, speech))
        waiting.start()
        waiting.join(timeout=2)
        assert waiting.is_alive() and not out.exists()
    waiting.join()
    assert read_hypotheses(out / "hypotheses.json") == hypotheses_of(directory, speech)
    fewer = DataDir(data.path, list(data)[:1])  # drawn anew under the same name
    assert list(hypotheses_of(directory, Speech(speech.model, fewer))) == [utterance.utt_id for utterance in fewer]


def test_hidden_states_of_a_decoder_are_means_over_its_own_tokens(each, data):
    """By hand: of each utterance alone, the rows from the prompt's last on."""
    batch = next(iter(load_batches(each, [list(data)]))).with_targets([HYPOTHESES[u.utt_id] for u in data])
    with torch.no_grad():
        found = average(each, batch)["decoder"].means
        for row, utterance in enumerate(data):
            alone = next(iter(load_batches(each, [[utterance]]))).with_targets([HYPOTHESES[utterance.utt_id]])
            state = each.begin(alone)
            for step in each.path():
                state = each.run(state, step)
            own = state.hidden[0, len(each.tokenizer.prompt) - 1 :]
            assert len(own) == len(HYPOTHESES[utterance.utt_id]) + 1
            torch.testing.assert_close(torch.from_numpy(found[row, -1]), own.mean(dim=0), rtol=1e-4, atol=1e-4)


def test_a_loss_of_frames_is_refused(model, data):
    with pytest.raises(ComflpError, match="which this model does not have; compare posteriors"):
        output_changes(Speech(model, data, hypotheses=HYPOTHESES), [PruningProposal.parse("decoder=1", DEPTHS)], "ctc")


def test_joint_search_finds_the_best_by_running_them_whole(model, data):
    speech = Speech(model, data, hypotheses=HYPOTHESES)
    matrices = {
        name: BlockMatrix(skip_costs(speech, "kl", 0, 3, None, name), is_cost=True) for name in model.stacks
    }
    (wanted,) = layer_counts("encoder=1+decoder=1", DEPTHS)
    found = joint_searches(lambda proposals: output_changes(speech, proposals, "kl"), matrices, [wanted], beam_size=3)[wanted]
    all_of_them = [
        PruningProposal.parse(f"encoder={i}+decoder={j}", DEPTHS) for i in range(1, 4) for j in range(1, 4)
    ]
    costs = output_changes(speech, all_of_them, "kl")
    assert [c.proposal for c in found.candidates] == sorted(all_of_them, key=lambda p: (costs[p], p))[:3]


def test_endless_hypotheses_are_left_out_and_named(model, data, monkeypatch):
    spelled = iter([[[0] * model.most_tokens], [[1, 2]], [[3]]])
    monkeypatch.setattr(model, "spell", lambda state: next(spelled))
    with pytest.warns(UserWarning, match="does not end on 1 of 3 utterances of .*, the first is u"):
        speech = on_own_hypotheses(Speech(model, data, max_seconds=0.1))
    assert len(speech.data) == 2 and set(speech.hypotheses) == {utterance.utt_id for utterance in speech.data}
    assert sorted(speech.hypotheses.values()) == [(1, 2), (3,)]
    monkeypatch.setattr(model, "spell", lambda state: [[0] * model.most_tokens] * len(state.hidden))
    with pytest.raises(ComflpError, match="ends on none of the 3 utterances"):
        on_own_hypotheses(Speech(model, data))


def test_a_ctc_model_needs_no_hypotheses(make_model, data):
    speech = Speech(make_model(), data)
    assert on_own_hypotheses(speech) is speech


def test_a_beam_search_of_frames_is_refused(model, data):
    with pytest.raises(ComflpError, match="writes tokens; decode it greedily"):
        decode(model, data, search=lambda *_: [])


def test_gradients_do_not_flow_in_searches(model, data):
    output_changes(Speech(model, data, hypotheses=HYPOTHESES), [PruningProposal.parse("decoder=1", DEPTHS)], "kl")
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()
