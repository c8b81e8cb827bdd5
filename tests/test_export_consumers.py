"""Exports as the runtimes that people use read them: 50 utterances get the texts that the model gives in PyTorch."""

import copy
import json

import numpy as np
import pytest
import torch
from fixtures.exported import same_share, speech
from fixtures.models import make_model as make_transformers_model
from fixtures.whisper import make_whisper
from transformers.convert_slow_tokenizer import bytes_to_unicode

import comflp.models
from comflp.deploy import recognition
from comflp.deploy.export import export
from comflp.deploy.formats import FORMATS
from comflp.deploy.whisper_graphs import SherpaEncoder
from comflp.errors import ComflpError
from comflp.proposal import PruningProposal

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def needs(package):
    return pytest.importorskip(package, reason=f"{package} is not installed; pip install 'comflp[runtimes]' brings it")


def test_sherpa_onnx_reads_models_of_waveforms(tmp_path):
    needs("sherpa_onnx")
    model = comflp.models.load(make_transformers_model(tmp_path / "m", "wav2vec2", "ABCDE ", num_layers=2))
    pruned = model.prune(PruningProposal.parse("1", 2))
    export(pruned, tmp_path, [FORMATS["sherpa-onnx"], FORMATS["sherpa-onnx_int8"]])
    assert same_share(pruned, tmp_path / "sherpa-onnx", speech()) >= 0.98
    assert len(recognition.load(tmp_path / "sherpa-onnx_int8").text(speech(1)[0])) > 0
    assert same_share(pruned, tmp_path / "sherpa-onnx", [CLICK]) == 1


def test_sherpa_onnx_and_onnx_asr_read_models_of_features(tmp_path):
    model = comflp.models.load(make_transformers_model(tmp_path / "m", "parakeet_ctc", "ABCDE ", num_layers=2))
    with torch.no_grad():
        model.model.ctc_head.bias[0] -= 100  # <unk>, which random weights say of nearly all frames
    export(model, tmp_path, [FORMATS["onnx"], FORMATS["sherpa-onnx"]])
    needs("onnx_asr")
    assert same_share(model, tmp_path / "onnx", speech()) >= 0.98
    needs("sherpa_onnx")
    # Its frames begin half a step from NeMo's, which trained models bear and random weights do not.
    found = recognition.load(tmp_path / "sherpa-onnx", num_threads=1)
    assert sum(bool(found.text(waveform)) for waveform in speech()) >= 25
    assert isinstance(found.text(CLICK), str)


@pytest.mark.parametrize("settings", [
    {"do_lower_case": True}, {"tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer", "do_phonemize": True},
], ids=["lower", "phonemes"])
def test_tokens_are_written_as_the_tokenizer_decodes_them(tmp_path, settings):
    """Letters that it makes small, and phonemes that are words of their own."""
    needs("sherpa_onnx")
    directory = make_transformers_model(tmp_path / "m", "wav2vec2", "ABCDE ", num_layers=1)
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    if "do_phonemize" in settings:
        pieces = json.loads((directory / "vocab.json").read_text())
        phonemes = ["<pad>", "<s>", "</s>", "<unk>", "aɪ", "n", "s", "tʃ", "ə", "t"][: len(pieces)]
        (directory / "vocab.json").write_text(json.dumps({phoneme: number for number, phoneme in enumerate(phonemes)}))
    model = comflp.models.load(directory)
    with torch.no_grad():
        model.model.lm_head.weight.mul_(3)
        model.model.lm_head.bias.zero_()
        logits = torch.cat([recognition.of_model(model).logits(waveform) for waveform in speech(4)])
        model.model.lm_head.bias -= logits.mean(0)
        model.model.lm_head.bias[1:4] -= 50
    export(model, tmp_path, [FORMATS["sherpa-onnx"]])
    own, found = recognition.of_model(model), recognition.load(tmp_path / "sherpa-onnx", num_threads=1)
    texts = [own.text(waveform).split() for waveform in speech(10)]
    assert any(len(text) > 1 or "".join(text).islower() for text in texts)
    assert sum(found.text(waveform).split() == text for waveform, text in zip(speech(10), texts)) >= 9


CLICK = np.full(10, 0.5, dtype=np.float32)
"""Audio of less than a frame: of so little sherpa-onnx crashes with Whisper, and raises with Parakeet."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def pruned_whisper(directory, **options):
    """A Whisper of one layer and one, pruned from two each, whose tokens are bytes; it writes letters, and ends."""
    make_whisper(directory, "".join(bytes_to_unicode().values()), encoder_layers=2, decoder_layers=2, window=30, positions=448, **options)
    model = comflp.models.load(directory, language="it" if options.get("multilingual", True) else None)
    written = model.processor.tokenizer.convert_tokens_to_ids([*LETTERS, "<|endoftext|>"])
    rows, positions = model.model.proj_out.weight, model.model.model.decoder.embed_positions.weight  # the first are the embeddings too
    drawn = torch.linalg.qr(torch.randn(rows.shape[1], rows.shape[1], generator=torch.Generator().manual_seed(0))).Q[: len(written)]
    with torch.no_grad():
        rows.zero_()
        rows[written] = 4 * drawn
        model.model.model.decoder.layer_norm.bias.zero_()  # which would write one letter for ever
        positions *= 6  # other letters at other places
        positions += torch.linspace(0, 250, len(positions))[:, None] * drawn[-1]
        for layer in model.model.model.decoder.layers:
            layer.encoder_attn.out_proj.weight *= 6  # and for other sounds
    return model.prune(PruningProposal.parse("encoder=1+decoder=2", {"encoder": 2, "decoder": 2}))


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A pruned multilingual Whisper and utterances."""
    return pruned_whisper(tmp_path_factory.mktemp("whisper")), speech()


def test_silence_after_quiet_audio_is_what_whisper_was_trained_on(whisper):
    model, heard = whisper[0], []
    encoder, config = SherpaEncoder(model), model.model.config
    hook = encoder.encoder.register_forward_pre_hook(lambda _, arguments: heard.append(*arguments))
    for loudest, silence in ((1.0, -1.0), (-1.2, -1.5)):
        mel = torch.zeros(1, config.num_mel_bins, 15)
        mel[..., :10] = loudest
        mel[:, 0, :10] -= 0.1
        with torch.no_grad():
            keys, values = encoder(mel)
        assert keys.shape == values.shape == (1, 1, encoder.frames // 2, config.d_model)
        assert torch.equal(heard[-1][..., :10], mel[..., :10]) and torch.all(heard[-1][..., 10:] == silence)
    hook.remove()


def test_onnx_asr_reads_a_pruned_whisper(whisper, tmp_path):
    needs("onnx_asr")
    model, heard = whisper
    export(model, tmp_path, [FORMATS["onnx"], FORMATS["onnx_int8"]])
    # onnx-asr writes 448 tokens at most, prompt included, which is one more than the library
    assert same_share(model, tmp_path / "onnx", heard, lambda found, expected: bool(expected) and found.startswith(expected)) == 1
    sizes = [(tmp_path / name / "onnx" / "decoder_model_merged.onnx").stat().st_size for name in ("onnx", "onnx_int8")]
    assert sizes[1] < sizes[0]


def test_sherpa_onnx_reads_a_pruned_whisper(whisper, tmp_path):
    """It stops after six tokens a second, so that its text begins the model's; not always, since random weights tell its features from ours."""
    needs("sherpa_onnx")
    model, heard = whisper
    export(model, tmp_path, [FORMATS["sherpa-onnx"]])
    assert same_share(model, tmp_path / "sherpa-onnx", heard, lambda found, expected: bool(found) and expected.startswith(found)) >= 0.7
    assert isinstance(recognition.load(tmp_path / "sherpa-onnx", num_threads=1).text(CLICK), str)


def test_a_whisper_that_translates_does_so_where_it_is_exported_to(whisper, tmp_path):
    needs("sherpa_onnx")
    model, heard = copy.deepcopy(whisper[0]), whisper[1]
    model.model.generation_config.task = "translate"
    translate, *letters = model.processor.tokenizer.convert_tokens_to_ids(["<|translate|>", "q", "d"])
    with torch.no_grad():  # what follows the token differs from what follows that of transcription
        rows = model.model.proj_out.weight
        rows[translate] = 2 * (rows[letters[0]] - rows[letters[1]])
        for layer in model.model.model.decoder.layers:
            layer.self_attn.out_proj.weight *= 12
    model.save(tmp_path / "m")
    model = comflp.models.load(tmp_path / "m")
    assert model.task == "translate"
    export(model, tmp_path, [FORMATS["sherpa-onnx"]])
    model.model.generation_config.task = "transcribe"
    model.save(tmp_path / "other")
    readers = [recognition.load(tmp_path / name) for name in ("sherpa-onnx", "m", "other")]
    texts = [[reader.text(waveform) for reader in readers] for waveform in heard]
    told_apart = [right.startswith(found) for found, right, wrong in texts if right.startswith(found) != wrong.startswith(found)]
    assert sum(told_apart) > 0.6 * len(told_apart) > 0  # random weights tell its features from ours
    model = comflp.models.load(tmp_path / "m")
    with pytest.raises(ComflpError, match="exported as onnx: onnx-asr has every Whisper transcribe"):
        export(model, tmp_path, [FORMATS["onnx"]])


def test_faster_whisper_reads_a_pruned_whisper(tmp_path):
    """Of English alone: by the size of its vocabulary, CTranslate2 takes no smaller one for multilingual."""
    needs("faster_whisper")
    model = pruned_whisper(tmp_path / "m", multilingual=False)
    export(model, tmp_path, [FORMATS["ctranslate2"], FORMATS["ctranslate2_int8"]])
    assert same_share(model, tmp_path / "ctranslate2", speech()) == 1
    sizes = [(tmp_path / name / "model.bin").stat().st_size for name in ("ctranslate2", "ctranslate2_int8")]
    assert sizes[1] < sizes[0]
