"""Settings of a directory that say what a caller of transformers wants back, and what hypotheses of token-writing models begin with."""

import json
import warnings

import pytest
from fixtures.models import make_model
from fixtures.whisper import make_whisper
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor, WhisperFeatureExtractor

import comflp.models
from comflp.errors import ComflpError
from comflp.inference.decode import decode
from comflp.models.verify import noise_batch
from comflp.proposal import PruningProposal


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize("make, language", [(lambda folder: make_model(folder, "wav2vec2", "ABC '"), None), (make_whisper, "it")], ids=["wav2vec2", "whisper"])
@pytest.mark.parametrize("setting", [{"return_dict": False}, {"output_attentions": True}, {"output_hidden_states": True}], ids=str)
def test_what_a_caller_wanted_back_is_no_part_of_the_model(tmp_path, noise_data, make, language, setting):
    folder = make(tmp_path / "deep")
    wanted = decode(comflp.models.load(folder, language=language), noise_data)
    edit(folder / "config.json", **setting)
    model = comflp.models.load(folder, language=language)
    assert dict(decode(model, noise_data)) == dict(wanted)
    model.save(tmp_path / "saved")
    assert dict(decode(comflp.models.load(tmp_path / "saved"), noise_data)) == dict(wanted)


@pytest.mark.parametrize("setting", [{"return_dict_in_generate": True}, {"num_return_sequences": 2, "num_beams": 2}], ids=str)
def test_generation_settings_of_what_is_given_back(tmp_path, noise_data, setting):
    folder = make_whisper(tmp_path / "deep", ends=True)
    wanted = decode(comflp.models.load(folder, language="it"), noise_data)
    edit(folder / "generation_config.json", **setting)
    assert dict(decode(comflp.models.load(folder, language="it"), noise_data)) == dict(wanted)


def test_a_hypothesis_keeps_the_special_tokens_that_it_begins_with(tmp_path):
    """Whisper whose settings do not name its languages writes language and task itself, and its text behind them."""
    tokenizer = comflp.models.load(make_whisper(tmp_path / "deep"), language="it").tokenizer
    (letter, *_), (end,) = tokenizer.encode("a"), {tokenizer.end}
    language, task = tokenizer.prompt[1:3]
    assert tokenizer.without_special([language, task, letter, task, letter]) == [language, task, letter, letter]
    assert tokenizer.without_special([letter, end]) == [letter]


def test_special_tokens_that_only_tokenizer_json_marks_are_refused_in_texts(tmp_path):
    folder = make_whisper(tmp_path / "deep")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("extra_special_tokens")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ComflpError, match=r"<\|transcribe\|> in .* is a special token of the model, no text"):
        comflp.models.load(folder, language="it").tokenizer.encode("abc <|transcribe|>")


def test_a_directory_without_its_tokenizer_is_told(tmp_path):
    folder = make_whisper(tmp_path / "deep", multilingual=False)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(ComflpError, match="the tokenizer has no token .* put the tokenizer's files"):
        comflp.models.load(folder)


def test_tokens_beyond_the_head_are_told(tmp_path):
    tokenizer = comflp.models.load(make_whisper(tmp_path / "deep"), language="it").tokenizer
    tokenizer.tokenizer.add_tokens(["xyz"])
    with pytest.raises(ComflpError, match=r"token \d+ in 'ab xyz' is beyond the \d+ that the model tells apart"):
        tokenizer.encode("ab xyz")


def test_an_adapter_alone_is_no_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "openai/whisper-base"}')
    with pytest.raises(ComflpError, match="holds an adapter of peft, .*merge_and_unload"):
        comflp.models.load(tmp_path)


def test_a_saved_whisper_has_the_files_of_transformers_4_and_its_spelling(tmp_path):
    folder = make_whisper(tmp_path / "deep")
    (folder / "normalizer.json").write_text('{"colour": "color"}')
    comflp.models.load(folder, language="it").save(tmp_path / "saved")
    processor = AutoProcessor.from_pretrained(tmp_path / "saved")
    extractor = WhisperFeatureExtractor.from_dict(json.loads((tmp_path / "saved" / "preprocessor_config.json").read_text()))
    assert extractor.to_dict() == processor.feature_extractor.to_dict()
    assert processor.tokenizer.normalize("The colour") == "the color"


@pytest.mark.parametrize("file", ["preprocessor_config.json", "tokenizer_config.json"])
def test_a_language_model_that_is_left_out_is_told(tmp_path, file):
    folder = make_model(tmp_path / "deep", "wav2vec2", "ABC '")
    edit(folder / file, processor_class="Wav2Vec2ProcessorWithLM")
    with pytest.warns(UserWarning, match=f"the language model of {folder} is left out: .* greedy search without it"):
        model = comflp.models.load(folder)
    model.save(tmp_path / "saved")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        comflp.models.load(tmp_path / "saved")


def test_a_model_that_translates_goes_on_to(tmp_path):
    model = comflp.models.load(make_whisper(tmp_path / "deep"), language="it")
    model.model.generation_config.task = "translate"
    model.save(tmp_path / "saved")
    assert comflp.models.load(tmp_path / "saved").tokenizer.prompt[2] == model.model.generation_config.task_to_id["translate"] != model.tokenizer.prompt[2]


def test_a_model_that_lost_its_alignment_heads_says_that_it_cannot_time_words(tmp_path):
    """They are in layers 2 and 4 of the decoder."""
    model = comflp.models.load(make_whisper(tmp_path / "deep"), language="it")
    model.prune(PruningProposal.parse("decoder=2,4", {"encoder": 4, "decoder": 4})).save(tmp_path / "pruned")
    waveform = noise_batch(16000, (1.0,)).waveforms[0].numpy()
    features = AutoProcessor.from_pretrained(tmp_path / "pruned")(waveform, sampling_rate=16000, return_tensors="pt")
    with pytest.raises(ValueError, match="has no `alignment_heads`"):
        AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path / "pruned").generate(**features, return_token_timestamps=True)
