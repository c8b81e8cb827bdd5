"""Transducers through what the stages call: measures along the deep model's own paths, searches, repair, and training."""

import dataclasses

import pytest
import soundfile
import torch
from fixtures.transducers import SAMPLE_RATE, make_rnnt, make_tdt
from test_finetune_tokens import HPARAMS as OF_TOKENS

import comflp.models
from comflp.data.data_dir import DataDir, Utterance
from comflp.data.training import LabelledDataset
from comflp.errors import ComflpError
from comflp.inference.decode import decode
from comflp.inference.device import evaluation
from comflp.inference.hypotheses import on_own_hypotheses, own_hypotheses, read_hypotheses, write_hypotheses
from comflp.inference.loop import load_batches
from comflp.inference.output_change import model_divergence, output_changes
from comflp.inference.speech import Speech
from comflp.models.verify import noise_batch, verify_saved
from comflp.proposal import PruningProposal
from comflp.repair import repair
from comflp.repair.head import projection_of
from comflp.scoring import error_rate
from comflp.search.fine.evaluate import evaluate
from comflp.train.distillation import Distillation
from comflp.train.fit import fit
from comflp.train.objectives import objective_of

HPARAMS = {**OF_TOKENS, "number_of_epochs": 2}
PROPOSALS = [PruningProposal.parse(text, 4) for text in ("1", "2-3", "1,4", "4")]


@pytest.fixture(scope="module", params=[make_rnnt, make_tdt])
def model(request, tmp_path_factory):
    return comflp.models.load(request.param(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, utterances = tmp_path_factory.mktemp("data"), []
    for number, waveform in enumerate(noise_batch(SAMPLE_RATE, (0.5, 0.8, 0.85, 1.3, 0.6, 1.1)).waveforms):
        samples = int((waveform != 0).sum())
        soundfile.write(folder / f"{number}.wav", waveform[:samples].numpy(), SAMPLE_RATE)
        utterances.append(Utterance(f"u{number}", str(folder / f"{number}.wav"), "abc de"[number // 2 :], f"s{number % 2}", samples / SAMPLE_RATE))
    return DataDir(folder, utterances)


@pytest.fixture(scope="module")
def speech(model, data):
    return on_own_hypotheses(Speech(model, data))


def rows_alone(model, speech):
    """Utterance -> log-posteriors of its rows, on the paths that ``speech`` has, each utterance alone."""
    found = {}
    with evaluation(model):
        for utterance, batch in zip(speech.data, load_batches(model, [[utterance] for utterance in speech.data])):
            found[utterance.utt_id] = model(speech.with_targets(batch)).log_probs()[0]
    return found


def test_paths_do_not_depend_on_batches_and_come_back_from_their_file(model, data, speech, tmp_path):
    assert speech.hypotheses == own_hypotheses(Speech(model, data, max_seconds=0.1)) and len(speech.data) == len(data)
    write_hypotheses(tmp_path / "hypotheses.json", speech.hypotheses, model.most_tokens)
    assert read_hypotheses(tmp_path / "hypotheses.json") == speech.hypotheses


def test_divergence_is_that_of_each_pruned_model_by_itself(model, speech):
    found = output_changes(speech, PROPOSALS, "kl")
    deep = rows_alone(model, speech)
    for proposal in PROPOSALS:
        pruned = model.prune(proposal)
        rows = rows_alone(pruned, speech)
        total = sum(float((own.exp() * (own - rows[key])).sum()) for key, own in deep.items())
        assert found[proposal] == pytest.approx(total / sum(map(len, deep.values())), rel=1e-3)
        assert found[proposal] == pytest.approx(model_divergence(speech, pruned), rel=1e-3)
    with pytest.raises(ComflpError, match="compare posteriors"):
        output_changes(speech, PROPOSALS, "near+text")


def test_shared_prefixes_decode_as_pruned_models_do(model, data, speech):
    found = evaluate(model, [model.nothing, *PROPOSALS], data, hypotheses=speech.hypotheses)
    for proposal in (model.nothing, *PROPOSALS):
        alone = decode(model.prune(proposal), data, max_seconds=0.1, hypotheses=speech.hypotheses)
        assert found.texts[proposal] == dict(alone) and found.ran_into_limit[proposal] == alone.ran_into_limit
    assert found.layer_runs < found.num_batches * 4 * (1 + len(PROPOSALS)) and len({str(texts) for texts in found.texts.values()}) > 1


@pytest.mark.filterwarnings("ignore:.*utterances would do")
def test_the_encoder_is_repaired_and_an_rnnts_joint_network_fitted(model, speech, tmp_path):
    pruned = model.prune(PruningProposal.parse("2", 4))
    repaired = repair(speech, pruned)
    done = repaired.origin["pruning"][-1]["repair"]
    assert done["divergence"][1] < done["divergence"][0] and model_divergence(speech, repaired) < model_divergence(speech, pruned)
    tried = {*done["refitted"], *done["kept"]}
    assert {"encoder.1.feed_forward2.linear2", "encoder.3.self_attn.q_proj"} <= tried
    assert ("output" in tried) == (model.family == "parakeet_rnnt"), "a TDT's last map makes two rows of a step"
    repaired.save(tmp_path / "repaired")
    verify_saved(repaired, tmp_path / "repaired")


def test_a_map_as_wide_as_the_rows_is_not_taken_for_the_last_one(tmp_path):
    """Of a TDT whose networks are as wide as it has symbols."""
    deep = comflp.models.load(make_tdt(tmp_path / "deep", decoder_hidden_size=9))
    batch = noise_batch(SAMPLE_RATE, (0.5,)).with_targets(deep.example_targets(1))
    assert deep.num_symbols == deep.model.decoder.decoder_projector.out_features == 9
    with torch.no_grad():
        assert projection_of(deep, deep.begin(batch)) is None


def test_the_loss_is_the_librarys_own_of_each_utterance_alone(model, data):
    labelled = LabelledDataset(data.utterances, model)
    batch = labelled.collate([labelled[number] for number in range(4)])
    objective, alone = objective_of(model), []
    with torch.no_grad():
        loss, left_out = objective.loss(model(objective.taught(batch), return_hidden=True), batch)
        for waveform, samples, labels, length in zip(batch.audio.waveforms, batch.audio.num_samples, batch.labels, batch.num_labels):
            features = model.processor.feature_extractor(waveform[:samples].numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
            read = torch.tensor([[model.tokenizer.blank_id, *labels[:length].tolist()]])
            alone.append(model.model(**features, decoder_input_ids=read, labels=labels[None, :length], reduction="mean").loss)
    assert left_out == 0 and float(loss) == pytest.approx(float(torch.stack(alone).mean()), rel=1e-4)


def test_a_pruned_model_learns_from_labels_and_is_heard_as_it_decodes(model, data, tmp_path):
    student = model.prune(PruningProposal.parse("2", 4))
    result = fit(student, data, data, tmp_path / "train", HPARAMS, run_opts={"noprogressbar": True})
    assert result.log[-1]["train_loss"] < result.log[0]["train_loss"]
    references = {utterance.utt_id: utterance.text for utterance in data}
    assert result.error_rate == error_rate(references, decode(result.model, data)).rate
    result.model.save(tmp_path / "finetuned")
    verify_saved(result.model, tmp_path / "finetuned")


def test_distillation_alone_reads_paths_and_no_text(model, data, speech, tmp_path):
    proposal = PruningProposal.parse("2", 4)
    untold = DataDir(data.path, [dataclasses.replace(utterance, text="~ not in the vocabulary ~") for utterance in data])
    teacher = Distillation.of_kind("only", model, proposal.kept, speech.hypotheses, ctc_weight=1.0, hidden_weight=1.0)
    result = fit(model.prune(proposal), untold, data, tmp_path, {**HPARAMS, "layerdrop": 0.0}, distillation=teacher, run_opts={"noprogressbar": True})
    losses = [row["train_loss"] for row in result.log]
    assert losses[-1] < losses[0] and result.skipped == []
    with pytest.raises(ComflpError, match="--distill ctc: the labels of a transducer do not say at which frames"):
        Distillation.of_kind("ctc", model, proposal.kept, ctc_weight=1.0, hidden_weight=1.0)
