"""Fine-tuning of models that write token by token: the loss is the library's own, and training lowers it."""

import dataclasses
import json

import pytest
import torch
from fixtures.canary import make_canary, make_cohere_asr
from fixtures.encoder_decoders import MAKERS, library_features, load_small
from fixtures.models import make_model as make_ctc_model
from fixtures.training import hparams
from fixtures.whisper import SAMPLE_RATE, make_whisper

from comflp.data.data_dir import DataDir
from comflp.data.training import LabelledDataset
from comflp.errors import ComflpError
from comflp.inference.decode import decode
from comflp.inference.output_change import output_changes
from comflp.inference.speech import Speech
from comflp.models import load
from comflp.models.verify import noise_batch, verify_saved
from comflp.proposal import PruningProposal
from comflp.scoring import error_rate
from comflp.train.distillation import Distillation
from comflp.train.fit import batch_limits, fit
from comflp.train.objectives import objective_of

HPARAMS = hparams(
    layerdrop=0.2, freeze_feature_extractor=True, max_batch_seconds=8.0, max_batch_utterances=4, max_grad_norm=1.0, gradient_checkpointing=True
)


@pytest.fixture(scope="module", params=MAKERS)
def model(request, tmp_path_factory):
    return load_small(request.param, tmp_path_factory.mktemp("model"), encoder_layers=2, decoder_layers=3)


def test_the_loss_is_the_librarys_own_of_each_utterance_alone(model, make_data):
    data = LabelledDataset(make_data(3).utterances, model)
    batch = data.collate([data[number] for number in range(3)])
    objective = objective_of(model)
    with torch.no_grad():
        loss, left_out = objective.loss(model(objective.taught(batch)), batch)
        alone = []
        for waveform, samples, labels, length in zip(batch.audio.waveforms, batch.audio.num_samples, batch.labels, batch.num_labels):
            features = library_features(model.family, model.processor, waveform[:samples].numpy())
            prompt, text = model.tokenizer.prompt, labels[:length].tolist()
            wanted = [-100] * (len(prompt) - 1) + [*text, model.tokenizer.end]  # -100: not counted
            alone.append(model.model(**features, decoder_input_ids=torch.tensor([[*prompt, *text]]), labels=torch.tensor([wanted])).loss)
    assert left_out == 0 and float(loss) == pytest.approx(float(torch.stack(alone).mean()), rel=1e-4)


@pytest.mark.parametrize(("model", "kind"), [*((make, "none") for make in MAKERS if make is not make_cohere_asr), (make_whisper, "ctc")], indirect=["model"])
def test_a_pruned_model_learns_and_is_heard_as_it_decodes(model, make_data, tmp_path, kind):
    data, proposal = make_data(6), PruningProposal.parse("encoder=1+decoder=2", {"encoder": 2, "decoder": 3})
    student = model.prune(proposal)
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    teacher = Distillation.of_kind(kind, model, (), ctc_weight=1.0, hidden_weight=1.0)
    result = fit(student, data, data, tmp_path / "train", HPARAMS, distillation=teacher, run_opts={"noprogressbar": True})
    trained = [row["train_loss"] for row in result.log]
    assert len(trained) == 3 and (kind != "none" or trained[-1] < trained[0])
    changed = {name for name, weight in result.model.state_dict().items() if not torch.equal(weight, before[name])}
    assert any("encoder.layers" in name for name in changed) and any("decoder.layers" in name for name in changed)
    front = tuple(f"model.{model.parts.encoder}.{part}" for part in model.parts.family.front)
    assert not any(name.startswith(front) for name in changed), "the front end is frozen"
    references = {utterance.utt_id: utterance.text for utterance in data}
    limits = {utterance.utt_id: model.tokenizer.encode(utterance.text) for utterance in data}
    assert result.error_rate == error_rate(references, decode(result.model, data, hypotheses=limits)).rate
    result.model.save(tmp_path / "finetuned")
    verify_saved(result.model, tmp_path / "finetuned")


def test_distillation_compares_the_rows_of_tokens(model, make_data):
    """Nothing to learn from oneself; of a pruned model the divergence that the searches measure too."""
    data = make_data(3)
    labelled = LabelledDataset(data.utterances, model)
    audio = objective_of(model).taught(labelled.collate([labelled[number] for number in range(3)]))
    distillation = Distillation.of_kind("ctc", model, (), ctc_weight=2.0, hidden_weight=1.0)
    proposal = PruningProposal.parse("decoder=2", {"encoder": 2, "decoder": 3})
    with torch.no_grad():
        assert float(distillation.loss(model(audio), audio)) == pytest.approx(0, abs=1e-5)
        found = float(distillation.loss(model.prune(proposal)(audio), audio))
    tokens = {utterance.utt_id: model.tokenizer.encode(utterance.text) for utterance in data}
    assert found == pytest.approx(2 * output_changes(Speech(model, data, hypotheses=tokens), [proposal], "kl")[proposal], rel=1e-3)


@pytest.mark.parametrize("model", [make_whisper, make_canary], indirect=True)
def test_distillation_alone_reads_hypotheses_and_no_text(model, make_data, tmp_path):
    """The loss that falls is the divergence on the teacher's own words; an utterance without any is left out."""
    data, proposal = make_data(6), PruningProposal.parse("decoder=2", {"encoder": 2, "decoder": 3})
    own = {utterance.utt_id: (number, 2, 1) for number, utterance in enumerate(data.utterances[:5])}
    untold = DataDir(data.path, [dataclasses.replace(utterance, text="~ not in the vocabulary ~") for utterance in data])
    student, teacher = model.prune(proposal), Distillation.of_kind("only", model, (), own, ctc_weight=1.0, hidden_weight=1.0)
    before = output_changes(Speech(model, DataDir(data.path, data.utterances[:5]), hypotheses=own), [proposal], "kl")[proposal]
    result = fit(student, untold, data, tmp_path, {**HPARAMS, "layerdrop": 0.0}, distillation=teacher, run_opts={"noprogressbar": True})
    losses = [row["train_loss"] for row in result.log]
    assert losses[-1] < losses[0] < 2 * before and result.skipped == [data.utterances[5].utt_id]


def test_hidden_states_of_several_stacks_are_not_distilled(model):
    with pytest.raises(ComflpError, match="--distill both: hidden states are compared in models of one stack"):
        Distillation.of_kind("both", model, (), ctc_weight=1.0, hidden_weight=1.0)


def test_an_utterance_that_only_an_error_rate_takes_costs_nothing(tmp_path, make_data):
    model = load_small(make_whisper, tmp_path / "model", encoder_layers=1, decoder_layers=1)
    data = [dataclasses.replace(utterance, text="a" * 500) for utterance in make_data(1)]
    held = LabelledDataset(data, model, for_error_rate=True)
    batch = held.collate([held[0]])
    objective = objective_of(model)
    with torch.no_grad():
        loss, left_out = objective.loss(model(objective.taught(batch)), batch)
    assert float(loss) == 0 and left_out == 1


@pytest.mark.parametrize(("kind", "unused"), [("wav2vec2", True), ("parakeet_ctc", False)])
def test_what_has_no_gradient_is_looked_for_in_several_processes(kind, unused, tmp_path, make_data, monkeypatch):
    model, seen = load(make_ctc_model(tmp_path / "model", kind, "abcde ")), []

    def stop(run_opts, **_):
        seen.append(run_opts["find_unused_parameters"])
        raise InterruptedError

    monkeypatch.setattr("comflp.train.fit.CTCBrain", stop)
    for given, expected in (({}, unused), ({"find_unused_parameters": True}, True)):
        with pytest.raises(InterruptedError):
            fit(model, make_data(2), make_data(2), tmp_path / "train", {**HPARAMS, "layerdrop": 0.0}, run_opts=given)
        assert seen.pop() is expected


def test_a_batch_may_have_any_number_of_utterances(make_model, make_data, tmp_path):
    assert batch_limits({"max_batch_seconds": 60, "max_batch_utterances": None}) == (60, None)
    utterances = list(make_data(2))
    long = [*utterances, dataclasses.replace(utterances[0], utt_id="long", duration=241.0)]
    with pytest.raises(ComflpError, match="utterance long lasts 241.0 s, and this model takes 239.99 s"):
        fit(make_model(2), long, utterances, tmp_path, HPARAMS)


def test_the_decoders_own_layerdrop_skips_nothing(tmp_path):
    directory = make_whisper(tmp_path / "deep")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "encoder_layerdrop": 0.9, "decoder_layerdrop": 0.9}))
    model = load(directory, language="it").train()
    batch, ran = noise_batch(SAMPLE_RATE, (0.5,)).with_targets([(0, 1, 2)]), []
    layers = [layer for stack in model.stacks.values() for layer in stack.layers]
    for layer in layers:
        layer.register_forward_hook(lambda *_: ran.append(1))
    for _ in range(5):
        model(batch)
    assert len(ran) == 5 * len(layers)


def test_a_decomposed_transcript_has_the_tokens_of_the_composed_one(tmp_path):
    """A Mac stores "\u00e9" as two characters; the letters of the vocabulary stand for the bytes of both, and of a space of no width."""
    model = load_small(make_whisper, tmp_path / "m", characters="caf\u00c3\u00a9e\u00cc\u0123\u00e2\u0122\u012d ")
    wanted = model.tokenizer.encode("caf\u00e9")
    assert model.tokenizer.decode(wanted) == "caf\u00e9"
    for text in ("cafe\u0301", "caf\u200b\u00e9 "):
        assert model.tokenizer.encode(text) == wanted


def test_a_special_token_in_a_transcript_is_refused_by_name(tmp_path):
    tokenizer = load_small(make_whisper, tmp_path / "m").tokenizer
    with pytest.raises(ComflpError, match=r"<\|endoftext\|> in 'ab <\|endoftext\|>' is a special token"):
        tokenizer.encode("ab <|endoftext|>")
