"""What comflp.models.load takes, what it refuses, and that nothing from outside runs."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from fixtures.models import make_model
from transformers import AutoModel, Wav2Vec2ForCTC, BertConfig

import comflp.models
from comflp.errors import ComflpError


@pytest.fixture
def directory(tmp_path):
    return make_model(tmp_path / "model", "wav2vec2", "ABC ", num_layers=2)


def edit_json(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_model_comes_in_evaluation_mode_and_float32(directory):
    Wav2Vec2ForCTC.from_pretrained(directory, dtype=torch.float16).save_pretrained(directory)
    model = comflp.models.load(directory)
    assert not any(module.training for module in model.modules())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.sample_rate == 16000
    assert model.origin == {"source": "model"}


def test_another_family_is_refused_with_the_list(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ComflpError, match="'bert' model; .*wav2vec2, hubert, wavlm, data2vec-audio, .*parakeet_ctc"):
        comflp.models.load(tmp_path)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(ComflpError, match="neither config.json nor hyperparams.yaml"):
        comflp.models.load(tmp_path)


def test_an_unknown_name_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for path in ("./nowhere", "/nowhere", "exp/no/where", "nowhere/"):
        with pytest.raises(ComflpError, match=f"there is no directory {path}$"):
            comflp.models.load(path)
    with pytest.raises(ComflpError, match="is an address; give the name on the Hugging Face hub"):
        comflp.models.load("https://huggingface.co/openai/whisper-tiny")
    with pytest.raises(ComflpError, match="test_models_load.py is a file; a model is a directory"):
        comflp.models.load(__file__)
    with pytest.raises(ComflpError, match="exp/nowhere is no directory and has not been downloaded before, and HF_HUB_OFFLINE keeps"):
        comflp.models.load("exp/nowhere")
    with pytest.raises(ComflpError, match="no--where is neither a directory nor a model of the Hugging Face hub"):
        comflp.models.load("no--where")


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(tmp_path):
    """Nothing listens on the port; the hub's library waits between its tries, which this test does not."""
    code = "import time; time.sleep = lambda seconds: None; from comflp.cli import main; main()"
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code, "info", "exp/nowhere"], env=environment, capture_output=True, text=True)
    assert re.fullmatch(r".*exp/nowhere is no directory and has not been downloaded before, and the Hugging Face hub, http://127.0.0.1:9, cannot be "
                        r"reached \(.*refused.*\)\n", done.stderr), done.stderr


def test_a_hub_name_is_loaded_from_the_cache(directory, tmp_path):
    """The hub's cache: a snapshot of the repository's files by commit, and a reference to it by branch."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "hub" / "models--someone--small-ctc"
    shutil.copytree(directory, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    code = "import comflp.models; model = comflp.models.load('someone/small-ctc'); print(model.num_layers, model.origin)"
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"2 {dict(source='someone/small-ctc', revision=commit)}"
    assert done.stderr == ""


def test_loading_and_saving_write_nothing_to_the_screen(directory, tmp_path, capfd):
    comflp.models.load(directory).save(tmp_path / "saved")
    assert capfd.readouterr() == ("", "")


def test_a_pre_trained_model_without_ctc_head_is_refused(directory):
    AutoModel.from_pretrained(directory).save_pretrained(directory)
    with pytest.raises(ComflpError, match="lacks the weights lm_head.bias, lm_head.weight"):
        comflp.models.load(directory)


def test_weights_of_more_layers_than_the_configuration_says_are_refused(directory):
    edit_json(directory / "config.json", num_hidden_layers=1)
    with pytest.raises(ComflpError, match="has, besides what the model holds, the weights .*layers.1.* and 11 more"):
        comflp.models.load(directory)


def test_spec_augment_and_pre_training_weights_do_not_matter(directory):
    from safetensors.torch import load_file, save_file

    path = directory / "model.safetensors"
    weights = load_file(path)
    del weights["wav2vec2.masked_spec_embed"]
    save_file({**weights, "quantizer.codevectors": torch.zeros(1, 2)}, path, {"format": "pt"})
    assert comflp.models.load(directory).num_layers == 2


@pytest.mark.parametrize("file, part", [("vocab.json", "tokenizer"), ("preprocessor_config.json", "Wav2Vec2FeatureExtractor")])
def test_a_directory_without_its_processor_is_refused(directory, file, part):
    (directory / file).unlink()
    with pytest.raises(ComflpError, match=f"has no {part} that can be loaded"):
        comflp.models.load(directory)


def test_a_damaged_configuration_is_named_with_its_line(directory):
    (directory / "config.json").write_text("{\n  oops\n}")
    with pytest.raises(ComflpError, match=r"config.json:2: not valid JSON"):
        comflp.models.load(directory)


def test_damaged_weights_are_refused(directory):
    (directory / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ComflpError, match="cannot be loaded as a recogniser"):
        comflp.models.load(directory)


class Payload:
    """A pickle of this makes a directory when it is loaded by a pickle that trusts it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return shutil.copytree, (self.path, self.path + ".ran")


def test_a_pickle_from_outside_does_not_run(directory, tmp_path):
    (directory / "model.safetensors").unlink()
    (tmp_path / "payload").mkdir()
    torch.save({"weight": Payload(tmp_path / "payload")}, directory / "pytorch_model.bin")
    with pytest.raises(ComflpError, match="cannot be loaded as a recogniser"):
        comflp.models.load(directory)
    assert not (tmp_path / "payload.ran").exists()


def test_code_beside_a_model_does_not_run(directory, tmp_path):
    ran = tmp_path / "ran"
    (directory / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nEvil = None\n")
    edit_json(directory / "config.json", auto_map={"AutoModelForCTC": "evil.Evil", "AutoConfig": "evil.Evil"})
    assert comflp.models.load(directory).num_layers == 2
    edit_json(directory / "config.json", model_type="evil")
    with pytest.raises(ComflpError, match="'evil' model"):
        comflp.models.load(directory)
    assert not ran.exists()


def test_a_vector_of_spec_augment_under_its_old_name_does_not_matter(directory):
    """facebook/wav2vec2-base-100h carries it; a layer or head by mistake is still refused."""
    from safetensors.torch import load_file

    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    weights["wav2vec2.mask_time_emb_vector"] = weights.pop("wav2vec2.masked_spec_embed")
    torch.save(weights, directory / "pytorch_model.bin")
    assert comflp.models.load(directory).num_layers == 2


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_a_prefix_before_every_weight_is_named(directory, prefix):
    from safetensors.torch import load_file, save_file

    path = directory / "model.safetensors"
    save_file({prefix + name: value for name, value in load_file(path).items()}, path, {"format": "pt"})
    with pytest.raises(ComflpError, match=f"begin with '{prefix}', as those of a model saved from inside a wrapper"):
        comflp.models.load(directory)


@pytest.mark.parametrize(
    "values, said",
    [
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "quantised weights .bitsandbytes."),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised weights .gptq."),
        ({"_attn_implementation": "kernels-community/flash-attn"}, "code from the hub"),
        ({"attn_implementation": "flash_attention_2"}, "cannot be loaded as a recogniser"),
        ({"hidden_act": "no_such_activation"}, "cannot be loaded as a recogniser: .*no_such_activation"),
        ({"hidden_size": 10**9}, "hidden_size in config.json is 1000000000, beyond"),
        ({"num_hidden_layers": 10**5}, "num_hidden_layers in config.json is 100000, beyond 1000"),
        ({"intermediate_size": 9 * 10**6}, "describes a model of [0-9,]+ parameters, its weights are [0-9,]+ bytes"),
        ({"hidden_size": "32"}, "hidden_size"),
        ({"hidden_size": 0}, "cannot be loaded as a recogniser"),
        ({"num_attention_heads": 5}, "cannot be loaded as a recogniser: .*divisible"),
        ({"conv_dim": 7}, "conv_dim"),
        ({"vocab_size": 9}, "cannot be loaded as a recogniser"),
        ({"vocab_size": None}, "cannot be loaded as a recogniser"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_line(directory, values, said):
    edit_json(directory / "config.json", **values)
    with pytest.raises(ComflpError, match=said) as raised:
        comflp.models.load(directory)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("rate", ["16000", 0, -1, 10**9, None, True, 16000.5])
def test_a_sample_rate_that_is_none_is_refused(directory, rate):
    edit_json(directory / "preprocessor_config.json", sampling_rate=rate)
    if (directory / "processor_config.json").exists():
        (directory / "processor_config.json").unlink()
    with pytest.raises(ComflpError, match="preprocessor_config.json"):
        comflp.models.load(directory)


def test_an_index_of_weights_that_leads_out_of_the_directory_is_refused(directory, tmp_path):
    (directory / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "../elsewhere.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ComflpError, match='names the file "../elsewhere.safetensors", which is not in the model'):
        comflp.models.load(directory)


def test_a_link_out_of_the_directory_is_refused(directory, tmp_path):
    (directory / "vocab.json").rename(tmp_path / "vocab.json")
    (directory / "vocab.json").symlink_to(tmp_path / "vocab.json")
    with pytest.raises(ComflpError, match="vocab.json is a symbolic link out of the model's directory"):
        comflp.models.load(directory)


def test_a_directory_of_the_hubs_cache_is_loaded_with_its_links(directory, tmp_path):
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0123", tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in directory.iterdir():
        file.rename(blobs / file.name)
        (snapshot / file.name).symlink_to(blobs / file.name)
    assert comflp.models.load(snapshot).num_layers == 2


def test_a_model_in_memory(directory):
    from transformers import Wav2Vec2Processor

    from comflp.models.transformers.loading import layered

    library = Wav2Vec2ForCTC.from_pretrained(f"{directory}/")
    model = layered(library, Wav2Vec2Processor.from_pretrained(directory))
    assert model.num_layers == 2 and model.origin == {"source": "model"} and model.tokenizer.encode("a b")
    with pytest.raises(ComflpError, match="weights in torch.float16; call model.float"):
        layered(library.half(), model.processor)


LANGUAGES = {"eng": "etaonih", "swh": "aiknuwe", "ful": "abcdefghij"}


@pytest.fixture
def several_languages(tmp_path):
    """As facebook/mms-1b-all: a nested vocabulary, weights with English head and adapters, and adapters in files."""
    from safetensors.torch import save_file

    directory = make_model(
        tmp_path / "mms", "wav2vec2", LANGUAGES["eng"] + " ", 2, adapter_attn_dim=4, do_stable_layer_norm=True,
        feat_extract_norm="layer",
    )
    special = ["<pad>", "<s>", "</s>", "<unk>", "|"]
    nested = {name: {token: i for i, token in enumerate([*special, *letters])} for name, letters in LANGUAGES.items()}
    (directory / "vocab.json").write_text(json.dumps(nested))
    model = Wav2Vec2ForCTC.from_pretrained(directory)
    for number, name in enumerate(("swh", "ful")):
        generator = torch.Generator().manual_seed(number)
        labels = len(nested[name])
        weights = {key: torch.randn(value.shape, generator=generator) * 0.3 for key, value in model._get_adapters().items()}
        weights["lm_head.weight"] = torch.randn(labels, 32, generator=generator)
        weights["lm_head.bias"] = torch.randn(labels, generator=generator)
        save_file(weights, directory / f"adapter.{name}.safetensors", {"format": "pt"})
    return directory


@pytest.mark.parametrize("language", ["eng", "swh", "ful"])
def test_a_model_of_several_languages_has_the_adapter_of_its_target_language(several_languages, tmp_path, language):
    """The library's logits, and the vocabulary of the same language; saved, it is a model of that language alone."""
    from comflp.models.verify import noise_batch

    edit_json(several_languages / "tokenizer_config.json", target_lang=language)
    choice = {} if language == "eng" else {"target_lang": language, "ignore_mismatched_sizes": True}
    library = Wav2Vec2ForCTC.from_pretrained(several_languages, **choice).eval()
    model = comflp.models.load(several_languages)
    batch = noise_batch(16000, (0.5,))
    normal = (batch.waveforms - batch.waveforms.mean()) / torch.sqrt(batch.waveforms.var(unbiased=False) + 1e-7)
    with torch.no_grad():
        expected = library(normal).logits
        torch.testing.assert_close(model(batch).logits, expected, rtol=1e-4, atol=1e-4)
        text = " ".join(LANGUAGES[language])
        assert model.tokenizer.decode(model.tokenizer.encode(text)) == text
        model.save(tmp_path / "saved")
        again = comflp.models.load(tmp_path / "saved")
        torch.testing.assert_close(again(batch).logits, expected, rtol=1e-4, atol=1e-4)
    assert again.tokenizer.encode(text) == model.tokenizer.encode(text)
    torch.testing.assert_close(Wav2Vec2ForCTC.from_pretrained(tmp_path / "saved")(normal).logits.detach(), expected, rtol=1e-4, atol=1e-4)


def test_a_language_without_adapter_is_refused(several_languages):
    edit_json(several_languages / "tokenizer_config.json", target_lang="swh")
    (several_languages / "adapter.swh.safetensors").unlink()
    with pytest.raises(ComflpError, match="asks for the language 'swh' .* put adapter.swh.safetensors beside"):
        comflp.models.load(several_languages)
