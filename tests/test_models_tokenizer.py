"""Text to labels and back by the model's own processor."""

import json

import pytest
from fixtures.models import make_model

import comflp.models
from comflp.errors import ComflpError
from comflp.models.transformers.processor import ProcessorTokenizer
from comflp.models.transformers.tokenizer_files import load_tokenizer


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


SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]


def write_tokenizer(directory, vocabulary, **settings):
    """A directory with what :func:`load_tokenizer` reads and nothing else, as published models have it."""
    directory.mkdir()
    if isinstance(vocabulary, list):
        vocabulary = {token: label for label, token in enumerate(vocabulary)}
    (directory / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    names = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    settings = {**names, "tokenizer_class": "Wav2Vec2CTCTokenizer", **settings}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    (directory / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    return directory


PHONEMES = [*SPECIAL, "n", "s", "t", "ə", "aɪ", "tʃ"]
LANGUAGES = {"eng": {token: label for label, token in enumerate([*SPECIAL, "|", *"etaonih"])},
             "swh": {token: label for label, token in enumerate([*SPECIAL, "|", *"aiknuwe"])}}
DIRECTORIES = {
    "word delimiter of its own": ([*SPECIAL, "_", *"abc"], {"word_delimiter_token": "_"}, 8, "cab a b", [7, 5, 6, 4, 5, 4, 6]),
    "pieces of several letters": ([*SPECIAL, "|", "sch", *"asc"], {}, 9, "sch as schas a", [5, 4, 6, 7, 4, 5, 6, 7, 4, 6]),
    "words written with a dash": ([*SPECIAL, "|", *"ab"], {"replace_word_delimiter_char": "-"}, 7, "a-b", [5, 4, 6]),
    "what it decodes is lowered": ([*SPECIAL, "|", *"AB"], {"do_lower_case": True}, 7, "ab a", [5, 6, 4, 5]),
    "accents by themselves": ([*SPECIAL, "|", *"ae", "\N{COMBINING ACUTE ACCENT}"], {}, 8, "ae\N{COMBINING ACUTE ACCENT}", [5, 6, 7]),
    "class of older versions": ([*SPECIAL, "|", *"ab"], {"tokenizer_class": "Wav2Vec2Tokenizer"}, 7, "ab a", [5, 6, 4, 5]),
    "phonemes": (PHONEMES, {"tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer", "do_phonemize": True}, 10, "n aɪ t ə n", [4, 8, 6, 7, 4]),
    "one of several languages": (LANGUAGES, {"target_lang": "swh"}, 12, "kai we", [7, 5, 6, 4, 10, 11]),
}


@pytest.mark.parametrize("kind", DIRECTORIES)
def test_text_as_the_directory_says_it(tmp_path, kind):
    """And the same after it was saved, by a tokenizer of the same class."""
    vocabulary, settings, vocab_size, text, ids = DIRECTORIES[kind]
    directory = write_tokenizer(tmp_path / "given", vocabulary, **settings)
    tokenizer = ProcessorTokenizer(load_tokenizer(str(directory))[0], vocab_size)
    assert tokenizer.encode(text) == ids
    assert tokenizer.decode(ids) == text
    saved = write_tokenizer(tmp_path / "saved", [])
    tokenizer.save(saved)
    again = ProcessorTokenizer(load_tokenizer(str(saved))[0], vocab_size)
    assert type(again.tokenizer) is type(tokenizer.tokenizer)
    assert again.encode(text) == ids and again.decode(ids) == text


@pytest.mark.parametrize(
    "vocabulary, settings, said",
    [
        (LANGUAGES, {}, "target_lang in tokenizer_config.json has to be one of them"),
        (LANGUAGES, {"target_lang": "fra"}, "target_lang in tokenizer_config.json has to be one of them"),
        ({"../up": LANGUAGES["eng"]}, {"target_lang": "../up"}, "target_lang .* is '../up', which is no language's name"),
        ([*SPECIAL, "a"], {"tokenizer_class": "NoSuchTokenizer"}, "NoSuchTokenizer|no tokenizer that can be loaded"),
    ],
)
def test_a_tokenizer_that_would_be_read_wrongly_is_refused(tmp_path, vocabulary, settings, said):
    with pytest.raises(ComflpError, match=said):
        load_tokenizer(str(write_tokenizer(tmp_path / "given", vocabulary, **settings)))


@pytest.mark.parametrize("in_checkpoint", [True, False])
def test_a_directory_without_a_processor_is_told_where_to_get_one(tmp_path, in_checkpoint):
    make_model(tmp_path, "wav2vec2", "ABC ", num_layers=1)
    for path in tmp_path.iterdir():
        if path.name not in ("config.json", "model.safetensors", "preprocessor_config.json"):
            path.unlink()
    if in_checkpoint:
        (tmp_path / "trainer_state.json").write_text("{}")
    with pytest.raises(ComflpError, match="holds a model without its processor.*copy the processor's files into it") as error:
        comflp.models.load(tmp_path)
    assert ("Trainer" in str(error.value)) == in_checkpoint and "NoneType" not in str(error.value) and "target_lang" not in str(error.value)


@pytest.mark.parametrize("model_type", ["wav2vec2", "parakeet_ctc"])
@pytest.mark.parametrize("text, named", [("a <pad> b", "<pad>"), ("a <unk>", "<unk>"), ("a <PAD> b", "<pad>")])
def test_special_tokens_in_a_transcript_are_refused_by_name(tmp_path, model_type, text, named):
    """The pad token is the blank of CTC, which can be no target."""
    with pytest.raises(ComflpError, match=f"'{named}' is a special token"):
        tokenizer_of(tmp_path, "ab ", model_type).encode(text)


def test_the_word_delimiter_in_a_transcript_is_refused(tmp_path):
    with pytest.raises(ComflpError, match=r"'\|' stands for the space between words"):
        tokenizer_of(tmp_path, "ab ").encode("a|b")


@pytest.mark.parametrize("model_type", ["wav2vec2", "parakeet_ctc"])
def test_what_looks_the_same_is_spelt_the_same(tmp_path, model_type):
    tokenizer = tokenizer_of(tmp_path, "caféno ir", model_type)
    looks = "cafe\N{COMBINING ACUTE ACCENT}\N{ZERO WIDTH SPACE}\N{NO-BREAK SPACE}no\N{SOFT HYPHEN}ir\N{ZERO WIDTH NO-BREAK SPACE}"
    assert tokenizer.encode(looks) == tokenizer.encode("café noir")
    assert tokenizer.encode("\N{NO-BREAK SPACE}\N{ZERO WIDTH SPACE}\N{BRAILLE PATTERN BLANK}") == []


def test_a_vocabulary_of_another_model_is_refused(tmp_path):
    """A head of fewer labels than the vocabulary has text: at once. Of more: when it puts one of them out."""
    tokenizer, _ = load_tokenizer(str(write_tokenizer(tmp_path / "given", [*SPECIAL, "|", *"abc"])))
    with pytest.raises(ComflpError, match="1 pieces of text beyond the 7 labels .* 'c', label 7"):
        ProcessorTokenizer(tokenizer, 7)
    with pytest.raises(ComflpError, match="put out label 9, for which its tokenizer of 8 tokens has no text"):
        ProcessorTokenizer(tokenizer, 10).decode([5, 9])


def test_the_blank_is_the_tokenizers_pad_token(tmp_path):
    make_model(tmp_path, "wav2vec2", "ABC ", num_layers=1)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "pad_token_id": 3}))
    assert comflp.models.load(tmp_path).tokenizer.blank_id == 0


def test_a_pad_token_that_is_no_label_is_refused(tmp_path):
    with pytest.raises(ComflpError, match="pad token '<blank>' has id 8, .* the model's 8 labels"):
        tokenizer_of(tmp_path, "ABC ", pad_token="<blank>")
