"""Every encoder-decoder family as two stacks: the pieces compute what the library does, whole and pruned, teacher-forced and generating."""

import json

import numpy as np
import pytest
import torch
from fixtures.canary import LONGEST, make_canary, make_cohere_asr
from fixtures.encoder_decoders import MAKERS, MULTILINGUAL, library_features, library_inputs, load_small
from fixtures.whisper import SAMPLE_RATE, WINDOW, make_whisper
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor, pipeline

import comflp.models
from comflp.cli import main
from comflp.data.batching import AudioBatch
from comflp.data.data_dir import DataDir, Utterance
from comflp.deploy import recognition
from comflp.errors import ComflpError
from comflp.inference.loop import plan_batches
from comflp.models.transformers.window import with_window
from comflp.models.transformers.split import place_of
from comflp.models.verify import noise_batch, verify_saved
from comflp.proposal import PruningProposal

DEPTHS = {"encoder": 4, "decoder": 4}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return comflp.models.load(make_whisper(tmp_path_factory.mktemp("whisper")), language="it")


@pytest.fixture(scope="module", params=MAKERS)
def each(request, model, tmp_path_factory):
    """A model of each family."""
    return model if request.param is make_whisper else load_small(request.param, tmp_path_factory.mktemp("model"))


def batch(lengths=(0.5, 1.0, 0.731), tokens=((0, 1, 2), (3,), (4, 4, 1, 0))):
    return noise_batch(SAMPLE_RATE, lengths).with_targets(tokens[: len(lengths)])


def at_the_end_of_the_encoder(model, audio, proposal=None):
    state = model.begin(audio)
    for step in model.recognition_path(proposal):
        state = model.run(state, step)
    return state


def by_hand(model, proposal):
    """The library's own model whose layers were taken out by hand."""
    library_model = comflp.models.load(model.directory).model
    for stack, key in model.parts.counts.items():
        owner = library_model.get_submodule(f"model.{stack}")
        owner.layers = torch.nn.ModuleList(owner.layers[layer - 1] for layer in proposal.of(stack).kept)
        setattr(*place_of(library_model.config, key), len(owner.layers))
        if hasattr(owner.config, "sliding_windows"):
            owner.config.sliding_windows = [owner.config.sliding_windows[layer - 1] for layer in proposal.of(stack).kept]
    for index, layer in enumerate(library_model.model.decoder.layers):
        layer.self_attn.layer_idx = layer.encoder_attn.layer_idx = index
    return library_model.eval()


def library_rows(model, library_model, audio):
    """Rows of logits of each utterance alone, by the library's own forward pass."""
    rows = []
    for waveform, samples, targets, length in zip(audio.waveforms, audio.num_samples, audio.targets, audio.num_targets):
        inputs = library_features(model.family, model.processor, waveform[:samples].numpy())
        tokens = torch.tensor([[*model.tokenizer.prompt, *targets[:length].tolist()]])
        with torch.no_grad():
            logits = library_model(**inputs, decoder_input_ids=tokens, use_cache=False).logits[0]
        rows.append(logits[len(model.tokenizer.prompt) - 1 :])
    return rows


def test_two_stacks_in_their_order(each):
    assert {name: stack.num_layers for name, stack in each.stacks.items()} == DEPTHS
    path = [str(step.stack)[0] + str(step.layer) for step in each.path()]
    assert path == ["e1", "e2", "e3", "e4", "d0", "d1", "d2", "d3", "d4"]


@pytest.mark.parametrize("removed", ["none", "decoder=1-2", "encoder=2-3+decoder=4"])
def test_every_utterance_gets_what_the_library_gives_it_alone(each, tmp_path, removed):
    proposal = PruningProposal.parse(removed, DEPTHS)
    each.save(tmp_path / "deep")
    each.directory = tmp_path / "deep"
    expected = library_rows(each, by_hand(each, proposal), batch())
    with torch.no_grad():
        state = each.begin(batch())
        for step in each.path(proposal):
            state = each.run(state, step)
        for output in (each.finish(state), each.prune(proposal)(batch())):
            assert output.num_frames.tolist() == [4, 2, 5]
            for ours, frames, theirs in zip(output.logits, output.num_frames, expected):
                torch.testing.assert_close(ours[:frames], theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("removed", ["none", "decoder=2-3", "encoder=2+decoder=1"])
def test_generation_with_a_cache_is_the_librarys_own_of_the_pruned_directory(each, tmp_path, removed):
    """Teacher-forced logits would not notice a wrong index of a decoder layer's cache; generation does."""
    proposal = PruningProposal.parse(removed, DEPTHS)
    audio = noise_batch(SAMPLE_RATE, (0.5, 1.0))
    with torch.no_grad():
        in_search = each.spell(at_the_end_of_the_encoder(each, audio, proposal), proposal, most_tokens=12)
        again = each.spell(at_the_end_of_the_encoder(each, audio), most_tokens=12)
    pruned = each.prune(proposal)
    pruned.save(tmp_path / "pruned")
    verify_saved(pruned, tmp_path / "pruned")
    library_model = AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path / "pruned").eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "pruned")
    for waveform, samples, found in zip(audio.waveforms, audio.num_samples, in_search):
        inputs = library_inputs(each.family, processor, waveform[:samples].numpy())
        tokens = library_model.generate(**inputs, max_new_tokens=12, num_beams=1)
        assert each.tokenizer.between(tokens[0].tolist()) == found
    if removed == "none":
        assert in_search == again
    assert getattr(*place_of(each.model.config, each.parts.counts["decoder"])) == 4 and len(each.decoder.layers) == 4, "the deep model is as it was"


def test_special_tokens_among_the_written_do_not_end_a_search(model, monkeypatch):
    """A pruned model may repeat one for ever: its text is empty, and its search was cut off all the same."""
    end, special = model.tokenizer.end, model.tokenizer.tokenizer.convert_tokens_to_ids("<|nospeech|>")
    audio = noise_batch(SAMPLE_RATE, (0.5, 1.0, 0.7)).with_targets([[1], [1], [1]])
    rows = [[1, special, 2, end, end, *[end] * 5], [special] * 10, [3, end, *[end] * 8]]
    monkeypatch.setattr(model.model, "generate", lambda **_: torch.tensor(rows))
    with torch.no_grad():
        state = at_the_end_of_the_encoder(model, audio)
        written = model.spell(state)
    assert written == [[1, special, 2], [special] * 10, [3]] and model.unended(written, state) == [False, True, False]
    assert model.texts({"": written})[""] == [model.tokenizer.decode([1, 2]), "", model.tokenizer.decode([3])]


def test_a_model_that_writes_timestamps_unasked_is_heard_once(model, monkeypatch):
    """After two of them Whisper's generate goes on with the rest of the audio, which it does not have from the end of an encoder."""
    settings = model.model.generation_config
    monkeypatch.setattr(settings, "no_timestamps_token_id", 0)  # so that every token is a timestamp but the first
    with torch.no_grad():
        written = model.spell(at_the_end_of_the_encoder(model, noise_batch(SAMPLE_RATE, (0.5, 1.0, 0.7))), most_tokens=9)
    assert [len(tokens) for tokens in written] == [9, 9, 9]


def test_what_is_saved_counts_its_layers_and_keeps_language_and_heads(model, tmp_path):
    pruned = model.prune(PruningProposal.parse("encoder=1+decoder=2-3", DEPTHS))
    pruned.save(tmp_path / "pruned")
    config = json.loads((tmp_path / "pruned" / "config.json").read_text())
    generation = json.loads((tmp_path / "pruned" / "generation_config.json").read_text())
    assert (config["encoder_layers"], config["decoder_layers"]) == (3, 2)
    assert generation["alignment_heads"] == [[1, 2]], "head 2 of layer 4, which is layer 2 now"
    assert generation["language"] == "it"
    assert comflp.models.load(tmp_path / "pruned").tokenizer.prompt == model.tokenizer.prompt
    assert config["comflp"]["pruning"] == [{"num_layers": DEPTHS, "removed": "encoder=1+decoder=2-3"}]
    assert "automatic-speech-recognition" in (tmp_path / "pruned" / "README.md").read_text()


def test_the_librarys_pipeline_reads_long_audio_with_a_pruned_directory(model, tmp_path):
    model.prune(PruningProposal.parse("encoder=1+decoder=2", DEPTHS)).save(tmp_path / "pruned")
    recognise = pipeline("automatic-speech-recognition", str(tmp_path / "pruned"), chunk_length_s=WINDOW)
    waveform = noise_batch(SAMPLE_RATE, (3.5 * WINDOW,)).waveforms[0].numpy()
    assert isinstance(recognise(waveform, generate_kwargs={"max_new_tokens": 8})["text"], str)


def test_a_model_in_memory(model):
    again = comflp.models.load(model.model, model.processor, language="it")
    with torch.no_grad():
        assert torch.equal(again(batch()).logits, model(batch()).logits)


@pytest.mark.parametrize("make", MULTILINGUAL)
def test_languages_are_checked_and_kept(tmp_path, make, capsys):
    directory = make(tmp_path / "deep", encoder_layers=1, decoder_layers=1)
    with pytest.raises(ComflpError, match="several languages; say which one with --language: en, it"):
        comflp.models.load(directory)
    assert main(["info", str(directory)]) == 0 and "decoder: 1 layers" in capsys.readouterr().out  # whatever the language
    with pytest.raises(ComflpError, match="does not know the language 'klingon'; it knows en, it"):
        comflp.models.load(directory, language="klingon")
    model = comflp.models.load(directory, language="Italian")
    assert model.model.generation_config.language == "it"
    model.save(tmp_path / "saved")
    assert comflp.models.load(tmp_path / "saved").tokenizer.prompt == model.tokenizer.prompt
    assert comflp.models.load(tmp_path / "saved", language="en").tokenizer.prompt != model.tokenizer.prompt


def test_models_of_one_language_take_no_other(tmp_path):
    english = make_whisper(tmp_path / "english", multilingual=False)
    assert len(comflp.models.load(english, language="en").tokenizer.prompt) == 2
    with pytest.raises(ComflpError, match="recognises English alone, not 'it'"):
        comflp.models.load(english, language="it")


@pytest.mark.parametrize("forced", [None, [[1, 3], [2, 5]]])
def test_generation_settings_that_name_no_languages_are_told(tmp_path, forced):
    directory = make_whisper(tmp_path / "of 2022")
    (directory / "generation_config.json").unlink()
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "forced_decoder_ids": forced}))
    with pytest.raises(ComflpError, match="do not name its languages .* put the generation_config.json of the model that it was trained from"):
        comflp.models.load(directory, language=None if forced else "it")
    if not forced:
        with pytest.warns(UserWarning, match="do not name its languages .* begins with its start token alone"):
            comflp.models.load(directory)


def test_a_tokenizer_that_lacks_the_token_of_the_language_is_refused(tmp_path):
    directory = make_whisper(tmp_path / "deep")
    settings = json.loads((directory / "generation_config.json").read_text())
    settings["lang_to_id"]["<|it|>"] = 1
    (directory / "generation_config.json").write_text(json.dumps(settings))
    with pytest.raises(ComflpError, match=r"no token <\|it\|> where the model's generation settings say"):
        comflp.models.load(directory, language="it")


@pytest.mark.parametrize(("make", "gone", "lacks"), [
    (make_canary, "chat_template.jinja", "no chat template, of which its prompt is made"),
    (make_cohere_asr, "<|noitn|>", "the tokenizer lacks a token of the prompt"),
])
def test_what_a_prompt_is_made_of_has_to_be_there(tmp_path, make, gone, lacks):
    directory = make(tmp_path / "deep", encoder_layers=1, decoder_layers=1)
    if (directory / gone).exists():
        (directory / gone).unlink()
    else:
        tokenizer = directory / "tokenizer.json"
        tokenizer.write_text(tokenizer.read_text().replace(gone, "<|other|>"))
    with pytest.raises(ComflpError, match=lacks):
        comflp.models.load(directory, language="it")


def test_the_card_says_how_the_library_is_asked_for_the_language(tmp_path):
    load_small(make_canary, tmp_path / "deep", encoder_layers=1, decoder_layers=1).save(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "inputs = processor.apply_transcription_request(waveform, source_language='it')" in card
    assert "language: it" in card


def test_audio_that_the_library_would_cut_into_pieces_is_refused_by_name(tmp_path):
    model = load_small(make_cohere_asr, tmp_path, encoder_layers=1, decoder_layers=1)
    audio = noise_batch(SAMPLE_RATE, (LONGEST + 0.5,))
    named = AudioBatch((Utterance("long one", "", "", "", LONGEST + 0.5),), audio.waveforms, audio.num_samples)
    with pytest.raises(ComflpError, match="utterance long one lasts 3.5 s, and this model takes 3 s at a time"):
        model.begin(named)
    assert len(model.begin(noise_batch(SAMPLE_RATE, (float(LONGEST),))).hidden) == 1


def test_long_and_very_short_files_are_recognised_whole(tmp_path):
    recognizer = recognition.of_model(load_small(make_cohere_asr, tmp_path, encoder_layers=1, decoder_layers=1))
    waveform = noise_batch(SAMPLE_RATE, (7.0,)).waveforms[0].numpy()
    thirds = np.array_split(waveform, 3)
    assert recognizer.text(waveform) == " ".join(filter(None, map(recognizer.text, thirds)))
    assert recognizer.text(waveform) != recognizer.text(waveform[: LONGEST * SAMPLE_RATE])
    assert recognizer.text(waveform[:5]) == recognizer.text(np.concatenate([waveform[:5], np.zeros(100, np.float32)]))


@pytest.mark.parametrize("family", ["granite_speech", "qwen3_asr", "voxtral"])
def test_language_models_that_read_audio_are_refused_by_name(tmp_path, family):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    with pytest.raises(ComflpError, match=f"is a '{family}' model, a language model that reads the output of an audio encoder"):
        comflp.models.load(tmp_path)


def test_audio_beyond_the_window_is_refused_by_name(model):
    audio = noise_batch(SAMPLE_RATE, (WINDOW + 0.5,))
    named = AudioBatch((Utterance("long one", "", "", "", 2.5),), audio.waveforms, audio.num_samples)
    with pytest.raises(ComflpError, match="utterance long one lasts 2.5 s, and this model takes 2 s at a time"):
        model.begin(named)
    with pytest.raises(ComflpError, match="utterance long one lasts 2.5 s"):
        plan_batches(model, DataDir("d", [*named.utterances, Utterance("short", "", "", "", 0.5)]), 60.0)


def test_a_teacher_forced_pass_needs_hypotheses(model):
    with pytest.raises(ComflpError, match="needs hypotheses"):
        model(noise_batch(SAMPLE_RATE, (0.5,)))


def test_at_least_one_layer_stays_in_each_stack():
    with pytest.raises(ComflpError, match="at least one"):
        PruningProposal.parse("decoder=1-4", DEPTHS)


def test_gradients_reach_both_stacks_and_the_front_end(each, tmp_path):
    each.save(tmp_path / "deep")
    trained = comflp.models.load(tmp_path / "deep").train()
    trained(batch()).logits.square().mean().backward()
    front = trained.split.base.get_submodule(trained.split.family.front[0])
    for module in (front, trained.stacks["encoder"].layers[0], trained.stacks["decoder"].layers[0]):
        gradient = next(module.parameters()).grad
        assert gradient is not None and gradient.abs().sum() > 0


def test_a_shorter_window_is_the_librarys_model_of_fewer_positions_and_says_so(model, tmp_path):
    shorter = with_window(model, 1)
    audio = batch((0.5, 0.9), ((0, 1), (2,)))
    with torch.no_grad():
        assert shorter.begin(audio).hidden.shape[1] == model.begin(audio).hidden.shape[1] // 2
    shorter.save(tmp_path / "shorter")
    verify_saved(shorter, tmp_path / "shorter")
    again = comflp.models.load(tmp_path / "shorter")
    assert again.window == 1 and again.origin["context_seconds"] == 1 and model.window == WINDOW
    assert "context seconds: 1" in (tmp_path / "shorter" / "README.md").read_text()
    with pytest.raises(ComflpError, match="takes 1 s at a time"):
        again.begin(noise_batch(SAMPLE_RATE, (1.5,)))
    with pytest.raises(ComflpError, match="window of this model is 2 s"):
        with_window(model, 3)


def test_only_a_model_with_a_window_can_have_a_shorter_one(make_model):
    with pytest.raises(ComflpError, match="there is no window to shorten"):
        with_window(make_model(), 1)


def test_a_ctc_model_takes_no_language(make_model, tmp_path):
    make_model().save(tmp_path / "ctc")
    with pytest.raises(ComflpError, match="leave the language 'it' out"):
        comflp.models.load(tmp_path / "ctc", language="it")
