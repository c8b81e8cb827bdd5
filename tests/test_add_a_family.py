"""docs/add_a_family.md, followed to the letter with the family that it invents."""

import re
from pathlib import Path

import pytest
import torch
from fixtures.invented_family import ToneConfig, ToneForCTC, register
from fixtures.models import SAMPLE_RATE, ctc_tokenizer
from fixtures.own_forward import alone
from transformers import AutoModelForCTC, Wav2Vec2FeatureExtractor

import comflp.models
from comflp.errors import ComflpError
from comflp.models.transformers import families
from comflp.models.verify import noise_batch, verify_saved
from comflp.proposal import PruningProposal

PAGE = Path(__file__).parent.parent / "docs" / "add_a_family.md"


@pytest.fixture
def directory(tmp_path):
    register()
    (tmp_path / "deep").mkdir()
    tokenizer = ctc_tokenizer(tmp_path / "deep", "ABCD ")
    torch.manual_seed(0)
    model = ToneForCTC(ToneConfig(vocab_size=len(tokenizer.encoder), pad_token_id=tokenizer.pad_token_id))
    model.save_pretrained(tmp_path / "deep")
    tokenizer.save_pretrained(tmp_path / "deep")
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "deep")
    return tmp_path / "deep"


def test_the_page_makes_a_family_that_prunes_and_loads_in_its_library(directory, tmp_path):
    with pytest.raises(ComflpError, match="is a 'tone' model"):
        comflp.models.load(directory)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(block, vars(families))
    try:
        model = comflp.models.load(directory)
        pruned = model.prune(PruningProposal.parse("2-3", num_layers=4))
        pruned.save(tmp_path / "pruned")
        verify_saved(pruned, tmp_path / "pruned")
        library_model = AutoModelForCTC.from_pretrained(tmp_path / "pruned").eval()
        assert len(library_model.tone.encoder.blocks) == library_model.config.num_hidden_layers == 2
        batch = noise_batch(SAMPLE_RATE, (0.5, 0.8))
        extractor = pruned.processor.feature_extractor
        with torch.no_grad():
            output = pruned(batch)
            for i, single in enumerate(alone(batch)):
                inputs = extractor(single.waveforms[0].numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
                logits = library_model(inputs["input_values"]).logits[0]
                torch.testing.assert_close(output.logits[i, : len(logits)], logits, rtol=1e-4, atol=1e-4)
    finally:
        del families.FAMILIES["tone"], vars(families)["_tone"]


def test_the_page_can_be_read_in_a_minute():
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 65
