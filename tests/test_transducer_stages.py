"""A transducer through the stage scripts: measured, searched, repaired and distilled without texts, and decoded."""

from fixtures.training import CONFIGURATION
from fixtures.transducers import make_tdt
from test_stages_inference import script

from comflp.artifacts import read_json
from comflp.inference.hypotheses import read_hypotheses
from comflp.models import load


def test_a_transducer_runs_through_the_stages(make_data, tmp_path):
    exp, deep = tmp_path / "exp", ("--model", "exp/deep")
    make_tdt(exp / "deep")
    for seed, name in enumerate(("probe", "train", "dev", "test")):
        make_data(6, seed=seed, name=f"data/{name}")
    (tmp_path / "finetune.yaml").write_text(CONFIGURATION)
    for stage, *options in (
        ("stage2_correlation", *deep, "--data", "data/probe", "--measure", "skip_kl", "--out", "exp/correlation"),
        ("stage3_coarse_search", "--exp", "exp", *deep, "--data", "data/probe", "--measure", "skip_kl", "--num-prune", 2,
         "--refine", 6),
        ("stage5_finetune", "--exp", "exp", "--num-prune", 2, "--proposal", "2-3", "--repair", 6, "--distill", "only", "finetune.yaml",
         "--noprogressbar"),
        ("stage6_decode", "--exp", "exp", "--data", "test"),
    ):
        script(f"{stage}.py", *options, cwd=tmp_path)
    paths = {name: read_hypotheses(exp / "deep" / f"hypotheses_{name}" / "hypotheses.json") for name in ("probe", "train", "test")}
    assert all(len(found) == 6 for found in paths.values())
    assert read_json(exp / "prune2" / "skip_kl" / "candidates.json")["refined"]["by"] == "kl+text"
    states = [exp / "prune2" / "layers_2-3" / name for name in ("pruned", "repaired", "finetuned_repaired_distill_only")]
    for state in states:
        assert load(state).num_layers == 2 and read_json(state / "decode_test" / "score.json")["num_utterances"] == 6
    done = load(states[1]).origin["pruning"][-1]["repair"]
    assert done["divergence"][1] <= done["divergence"][0] and done["utterances"] == 6
