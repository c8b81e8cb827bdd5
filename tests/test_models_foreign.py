"""Model directories as other programs and hands leave them: what loads, and what an error says of the rest."""

import json

import pytest
import torch
from fixtures.models import make_model
from fixtures.whisper import make_whisper
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

import comflp.models
from comflp.errors import ComflpError
from comflp.inference.decode import decode
from comflp.models.verify import noise_batch


def edit(path, removed=(), **changes):
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if key not in removed}))


def edit_extractor(folder, **changes):
    """The settings of the feature extractor, in whichever file they lie."""
    for path in (folder / "preprocessor_config.json", folder / "processor_config.json"):
        if path.exists():
            content = json.loads(path.read_text())
            content.get("feature_extractor", content).update(changes)
            path.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    return make_model(tmp_path / "model", "wav2vec2", "ABC ", 2)


def repacked(folder, content):
    """The weights as pytorch_model.bin with this content, made of them."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(content(weights), folder / "pytorch_model.bin")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "vocab.json"])
def test_a_pointer_of_git_lfs_is_called_one(folder, name):
    (folder / "model.safetensors" if name == "pytorch_model.bin" else folder / name).unlink()
    (folder / name).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n")
    with pytest.raises(ComflpError, match=rf"^{name} in .*: a pointer of Git LFS lies in the place of the file; run 'git lfs pull'"):
        comflp.models.load(folder)


def test_pointers_of_files_that_are_not_read_do_no_harm(folder):
    for name in ("tf_model.h5", "pytorch_model.bin"):
        (folder / name).write_text("version https://git-lfs.github.com/spec/v1\n")
    assert comflp.models.load(folder).num_layers == 2


def test_a_file_that_cannot_be_read_leaves_the_error_as_it_was(folder):
    """Beside what is wrong with a directory, its files are looked at for pointers."""
    (folder / "vocab.json").unlink()
    (folder / "vocab.json").symlink_to("/proc/self/mem")  # which opens, and cannot be read at its beginning
    with pytest.raises(ComflpError, match="vocab.json .*link"):
        comflp.models.load(folder)


@pytest.mark.parametrize("entry", ["state_dict", "model"])
def test_weights_inside_a_checkpoint_of_a_training_program_are_told(folder, entry):
    repacked(folder, lambda weights: {entry: weights, "epoch": 3})
    with pytest.raises(ComflpError, match=f"the entries 'epoch', '{entry}', as the checkpoint of a training program has"):
        comflp.models.load(folder)


def test_weights_with_an_adapter_that_was_not_merged_are_told(folder):
    repacked(folder, lambda weights: {key.replace("q_proj.", "q_proj.base_layer."): value for key, value in weights.items()})
    with pytest.raises(ComflpError, match="an adapter of peft beside them; .*merge_and_unload"):
        comflp.models.load(folder)


def test_an_adapter_beside_a_model_is_not_left_out_silently(folder):
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(ComflpError, match="beside a model, which is not applied here; .*remove adapter_config.json"):
        comflp.models.load(folder)


@pytest.mark.parametrize("file, said", [("model.bin", "It looks like a model of CTranslate2"), ("other", "no model_type")])
def test_a_configuration_without_a_model_type_is_told(tmp_path, file, said):
    (tmp_path / "config.json").write_text('{"alignment_heads": [[1, 0]], "lang_ids": [1]}')
    (tmp_path / file).write_bytes(b"0")
    with pytest.raises(ComflpError, match=said):
        comflp.models.load(tmp_path)


@pytest.mark.parametrize("changes", [{"feature_size": 128}, {"chunk_length": 30}, {"hop_length": 320}], ids=str)
def test_a_feature_extractor_of_another_whisper_is_told(tmp_path, changes):
    """As where one fine-tunes large-v3, which has 128 mel bands, and saves the processor of another size."""
    folder = make_whisper(tmp_path / "whisper")
    edit_extractor(folder, **changes)
    with pytest.raises(ComflpError, match="the feature extractor is not that of the model: put the preprocessor_config.json"):
        comflp.models.load(folder, language="it")


def test_random_noise_of_a_feature_extractor_is_left_out(tmp_path, noise_data):
    folder = make_whisper(tmp_path / "whisper", ends=True)
    wanted = decode(comflp.models.load(folder, language="it"), noise_data)
    edit_extractor(folder, dither=0.1)
    with pytest.warns(UserWarning, match=r"adds random noise to what it reads \(dither 0.1"):
        model = comflp.models.load(folder, language="it")
    assert dict(decode(model, noise_data)) == dict(wanted)
    model.save(tmp_path / "saved")
    assert AutoProcessor.from_pretrained(tmp_path / "saved").feature_extractor.dither == 0


def test_generation_settings_that_name_no_tasks_are_told(tmp_path):
    folder = make_whisper(tmp_path / "whisper")
    edit(folder / "generation_config.json", removed=["task_to_id"])
    with pytest.raises(ComflpError, match=r"not its tasks \(task_to_id\).* put the generation_config.json"):
        comflp.models.load(folder, language="it")


@pytest.mark.parametrize(
    "settings", [{"no_speech_threshold": 0.6, "logprob_threshold": -1.0, "temperature": [0.0, 0.2]}, {"stop_strings": ["a"]}, {"guidance_scale": 1.5}], ids=str
)
def test_the_search_is_greedy_whatever_the_generation_settings_ask_for(tmp_path, noise_data, settings):
    folder = make_whisper(tmp_path / "whisper", ends=True)
    wanted = decode(comflp.models.load(folder, language="it"), noise_data)
    edit(folder / "generation_config.json", **settings)
    model = comflp.models.load(folder, language="it")
    assert dict(decode(model, noise_data)) == dict(wanted)
    model.save(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert settings.items() <= saved.items(), "what the library alone does is as it was"


def test_a_head_that_is_not_the_embedding_is_saved_as_such(tmp_path):
    """Merging an adapter unties them and leaves the configuration; versions of the library that go by it would lose the head."""
    folder = make_whisper(tmp_path / "whisper")
    weights = load_file(folder / "model.safetensors")
    weights["proj_out.weight"] = torch.randn(weights["model.decoder.embed_tokens.weight"].shape)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    model = comflp.models.load(folder, language="it")
    model.save(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["tie_word_embeddings"] is False
    batch = noise_batch(16000, (1.0,)).with_targets([[1, 2, 3]])
    with torch.no_grad():
        torch.testing.assert_close(comflp.models.load(tmp_path / "saved").library_logits(batch), model(batch).logits, rtol=1e-4, atol=1e-4)
