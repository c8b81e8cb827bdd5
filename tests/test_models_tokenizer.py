"""Text to labels and back by the model's own processor."""

import json

import pytest
from fixtures.models import make_model

import comflp.models
from comflp.errors import ComflpError


def tokenizer_of(directory, characters, model_type="wav2vec2", **tokenizer_config):
    make_model(directory, model_type, characters, num_layers=1)
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **tokenizer_config}))
    return comflp.models.load(directory).tokenizer


@pytest.mark.parametrize("model_type", ["wav2vec2", "parakeet_ctc"])
@pytest.mark.parametrize(
    "characters, text, decoded",
    [
        ("ABEL '", "Abel's  all  Ebb", None),
        ("ABELS '", "Abel's  all  Ebb", "ABEL'S ALL EBB"),
        ("abels '", "Abel's  all  Ebb", "abel's all ebb"),
        ("Aabels Eb'", "Abel's all\tEbb", "Abel's all Ebb"),
        ("甲乙丙", "甲乙乙丙", "甲乙乙丙"),
    ],
)
def test_round_trip_in_the_case_of_the_vocabulary(tmp_path, model_type, characters, text, decoded):
    tokenizer = tokenizer_of(tmp_path, characters, model_type)
    if decoded is None:
        with pytest.raises(ComflpError, match="has no 'S', which occurs in \"ABEL'S ALL EBB\""):
            tokenizer.encode(text)
    else:
        ids = tokenizer.encode(text)
        assert tokenizer.blank_id not in ids and max(ids) < tokenizer.vocab_size
        assert tokenizer.decode(ids) == decoded


@pytest.mark.parametrize("model_type", ["wav2vec2", "parakeet_ctc"])
def test_a_character_outside_the_vocabulary_is_named(tmp_path, model_type):
    with pytest.raises(ComflpError, match="has no 'é', which occurs in 'café'"):
        tokenizer_of(tmp_path, "abcf ", model_type).encode("café")


def test_a_space_without_word_delimiter_is_named(tmp_path):
    with pytest.raises(ComflpError, match=r"has no '\|', the word delimiter, which occurs in '甲 乙'"):
        tokenizer_of(tmp_path, "甲乙").encode("甲 乙")


def test_repeated_letters_survive_decoding(tmp_path):
    """The CTC collapse has been done before; decoding must not do it again."""
    tokenizer = tokenizer_of(tmp_path, "ABLE ")
    assert tokenizer.decode(tokenizer.encode("ABBA BELL")) == "ABBA BELL"


def test_a_tokenizer_that_lowers_what_it_decodes(tmp_path):
    tokenizer = tokenizer_of(tmp_path, "ABC ", do_lower_case=True)
    assert tokenizer.decode(tokenizer.encode("Cab a")) == "cab a"


def test_special_tokens_are_left_out_of_text(tmp_path):
    tokenizer = tokenizer_of(tmp_path, "ABC ")
    special = [tokenizer.tokenizer.convert_tokens_to_ids(token) for token in ("<s>", "<unk>", "</s>")]
    assert tokenizer.decode([special[0], *tokenizer.encode("A B"), *special[1:]]) == "A B"


def test_labels_beyond_the_models_head_are_refused(tmp_path):
    """Tokenizers often gain tokens that the head was never trained for."""
    tokenizer = tokenizer_of(tmp_path, "ABC ")
    tokenizer.tokenizer.encoder["D"] = tokenizer.vocab_size
    with pytest.raises(ComflpError, match="D"):
        tokenizer.encode("BAD")


def test_the_blank_is_the_tokenizers_pad_token(tmp_path):
    make_model(tmp_path, "wav2vec2", "ABC ", num_layers=1)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "pad_token_id": 3}))
    assert comflp.models.load(tmp_path).tokenizer.blank_id == 0


def test_a_pad_token_that_is_no_label_is_refused(tmp_path):
    with pytest.raises(ComflpError, match="pad token '<blank>' has id 8, .* the model's 8 labels"):
        tokenizer_of(tmp_path, "ABC ", pad_token="<blank>")
