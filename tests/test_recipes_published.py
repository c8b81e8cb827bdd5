"""recipes/aishell1 and recipes/librispeech through all eight stages, offline: small corpora in the exact layouts,
small random models with the quirks of the published ones."""

import pytest
from fixtures.copied import copy_recipe, run_recipe
from fixtures.corpora import WORDS, lay_out_aishell, lay_out_librispeech
from fixtures.models import make_model, make_normed_head, make_stable_layer_norm

import comflp.models
from comflp.artifacts import read_json

SMALL = ["--num-probe", 24, "--num-valid", 8, "--beam-size", 3, "--baselines", "top random", "--max-seconds", 20]
FINETUNE = ["--finetune-opts", "--number_of_epochs 1 --max_batch_utterances 4 --noprogressbar"]


def characters(transcript):
    return "".join(sorted({c for line in transcript.read_text().splitlines() for c in "".join(line.split()[1:])}))


@pytest.mark.parametrize("make, num_layers, num_prune", [(make_normed_head, 12, 6), (make_stable_layer_norm, 24, 12)])
def test_aishell1_runs_all_stages(tmp_path, make, num_layers, num_prune):
    corpus = lay_out_aishell(tmp_path / "my corpus", sizes=(24, 8, 8))
    vocabulary = characters(corpus / "transcript" / "aishell_transcript_v0.8.txt")
    make(tmp_path / "models" / "deep", vocabulary, num_layers=num_layers)
    recipe = copy_recipe("aishell1", tmp_path / "hus på landet")
    run_recipe(
        recipe, "--corpus", tmp_path / "my corpus", "--check-counts", "false", "--model", tmp_path / "models" / "deep",
        "--num-prune", num_prune, "--finetune-prune", num_prune, "--proposals", "scratch top dc_fine", *SMALL, *FINETUNE,
    )
    exp = recipe / "exp" / "deep"
    for name in ("scratch", "top", "dc_fine"):
        model = comflp.models.load(exp / f"prune{num_prune}" / name / "finetuned")
        assert model.num_layers == num_layers - num_prune
        assert read_json(exp / f"prune{num_prune}" / name / "finetuned" / "decode_test" / "score.json")["num_utterances"] == 8
    candidates = read_json(exp / f"prune{num_prune}" / "dc" / "candidates.json")
    assert candidates["method"] == "beam" and len(candidates["candidates"]) == 3
    assert read_json(recipe / "data" / "subsets.json")["options"]["valid_from"] == "test"
    assert (exp / "report" / "RESULTS.md").exists() and (exp / "report" / "report.html").exists()


def test_aishell1_with_the_settings_of_the_released_code(tmp_path):
    corpus = lay_out_aishell(tmp_path / "my corpus", sizes=(24, 4, 12))
    vocabulary = characters(corpus / "transcript" / "aishell_transcript_v0.8.txt")
    make_normed_head(tmp_path / "deep", vocabulary, num_layers=4)
    recipe = copy_recipe("aishell1", tmp_path / "hus på landet")
    run_recipe(
        recipe, "--settings", "released", "--corpus", tmp_path / "my corpus", "--check-counts", "false", "--model", "deep",
        "--num-prune", 2, "--stop-stage", 4, *SMALL, cwd=tmp_path,
    )
    exp = recipe / "exp" / "deep"
    assert (exp / "prune2" / "dc_released_fine" / "proposal.json").exists()
    assert read_json(exp / "hidden" / "record.json")["options"]["padded_mean"] == 20.0  # the batches that it depends on
    valid = [line.split()[0] for line in (recipe / "data" / "valid" / "text").read_text().splitlines()]
    test = [line.split()[0] for line in (recipe / "data" / "test" / "text").read_text().splitlines()]
    assert valid == sorted(test)[:8]


def test_librispeech_runs_all_stages(tmp_path):
    lay_out_librispeech(tmp_path / "my corpus")
    letters = "".join(sorted({" ", *"".join(WORDS)}))
    make_model(tmp_path / "tiny-hubert", "hubert", letters)
    recipe = copy_recipe("librispeech", tmp_path / "hus på landet")
    run_recipe(
        recipe, "--corpus", tmp_path / "my corpus", "--model", tmp_path / "tiny-hubert", "--num-prune", "1:2",
        "--finetune-prune", 2, *SMALL, *FINETUNE,
    )
    exp = recipe / "exp" / "tiny-hubert"
    for data in ("dev", "test", "test_other"):
        score = read_json(exp / "prune2" / "dc_fine" / "finetuned_repaired" / f"decode_{data}" / "score.json")
        assert score["metric"] == "wer" and score["num_utterances"] == 8
    assert (exp / "prune1" / "svcca_fine" / "proposal.json").exists()
    assert (exp / "report" / "RESULTS.md").exists()
