"""Models of transformers in memory, with their processors: as a directory would give them, or refused."""

import json

import pytest
import torch
import transformers
from fixtures.models import make_model
from fixtures.variants import STABLE

import comflp.models
from comflp.errors import ComflpError
from comflp.proposal import PruningProposal


def change_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_model_of_several_languages_is_saved_as_one_of_its_language(tmp_path):
    directory = make_model(tmp_path / "mms", "wav2vec2", "ABC ", **STABLE, adapter_attn_dim=4)
    model = transformers.Wav2Vec2ForCTC.from_pretrained(directory)
    vocabulary = json.loads((directory / "vocab.json").read_text())
    (directory / "vocab.json").write_text(json.dumps({"eng": vocabulary, "fra": vocabulary}))
    change_json(directory / "tokenizer_config.json", target_lang="eng")
    processor = transformers.AutoProcessor.from_pretrained(directory)
    processor.tokenizer.set_target_lang("fra")
    deep = comflp.models.load(model, processor)
    deep.prune(PruningProposal.parse("1", 4)).save(tmp_path / "out")
    assert comflp.models.load(tmp_path / "out").tokenizer.encode("ab") == deep.tokenizer.encode("ab")
    assert processor.tokenizer.target_lang == "fra", "what the user gave stays as it was"


def test_a_word_delimiter_is_the_directorys(tmp_path):
    directory = make_model(tmp_path / "m", "wav2vec2", "ABC ")
    (directory / "vocab.json").write_text((directory / "vocab.json").read_text().replace('"|"', '"_"'))
    settings = json.loads((directory / "tokenizer_config.json").read_text().replace('"|"', '"_"'))
    change_json(directory / "tokenizer_config.json", **settings)
    given = (transformers.Wav2Vec2ForCTC.from_pretrained(directory), transformers.AutoProcessor.from_pretrained(directory))
    assert comflp.models.load(*given).tokenizer.encode("a b") == comflp.models.load(directory).tokenizer.encode("a b")


def test_a_model_without_its_processor_is_refused(tmp_path):
    directory = make_model(tmp_path / "m", "wav2vec2", "ABC ")
    model = transformers.Wav2Vec2ForCTC.from_pretrained(directory)
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(directory)
    wrapped = torch.nn.DataParallel(model), transformers.AutoProcessor.from_pretrained(directory)
    for given in ((model, None), (model, tokenizer), (comflp.models.load(directory), None), wrapped):
        with pytest.raises(ComflpError, match="is a model of transformers and its processor .* DataParallel wraps out"):
            comflp.models.load(*given)
