"""recipes/whisper from its run.sh, on a random Whisper and prompts of noise: two stacks through all stages."""

import json

import pytest
from fixtures.benchmarks import benchmark
from fixtures.in_process import call
from fixtures.recipe import run
from fixtures.whisper_recipe import OPTIONS, small_whisper_recipe

from comflp.artifacts import fingerprint_model, read_json
from comflp.data.data_dir import read_data_dir
from comflp.experiment import Layout
from comflp.inference.hidden_states import read as read_hidden
from comflp.inference.hypotheses import read_hypotheses
from comflp.models import load
from comflp.models.transformers.seq2seq import TransformersSeq2Seq
from comflp.scoring import error_rate

CELLS = ("prune_decoder1", "prune_encoder1", "prune_encoder1_decoder1")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whisper")
    recipe = small_whisper_recipe(folder)
    done = run(recipe, model=folder / "model", corpus=folder / "corpus", **OPTIONS)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return recipe, Layout(recipe / "exp" / "small")


def test_sets_share_no_text_and_hold_what_can_be_trusted(finished):
    sets = {name: read_data_dir(finished[0] / "data" / name) for name in ("train", "dev", "test")}
    texts = {name: {utterance.text for utterance in data} for name, data in sets.items()}
    assert sum(map(len, sets.values())) == 30 and all(len(data) >= 6 for data in sets.values())
    assert not texts["train"] & texts["dev"] and not texts["train"] & texts["test"] and not texts["dev"] & texts["test"]
    assert not any(name in str(utterance.utt_id) for data in sets.values() for utterance in data for name in ("short", "spelt", "lost"))


def test_the_deep_models_hypotheses_are_written_once_and_named_in_a_record(finished):
    recipe, layout = finished
    for name in ("probe", "valid", "dev", "test"):
        record = read_json(layout.deep / f"hypotheses_{name}" / "record.json")
        assert record["inputs"]["model"] == fingerprint_model(layout.deep)
        content = read_json(layout.deep / f"hypotheses_{name}" / "hypotheses.json")
        found = read_hypotheses(layout.deep / f"hypotheses_{name}" / "hypotheses.json")
        assert set(found) == {utterance.utt_id for utterance in read_data_dir(recipe / "data" / name)}
        for utt_id, entry in content["utterances"].items():
            assert entry["ended"] == (len(entry["tokens"]) < content["most_tokens"]) and found[utt_id] == tuple(entry["tokens"])


def test_hidden_states_and_a_matrix_of_each_stack(finished):
    layout = finished[1]
    for stack, depth in (("encoder", 2), ("decoder", 3)):
        utt_ids, hidden = read_hidden(layout.root / "hidden" / stack)
        assert hidden.shape == (len(utt_ids), depth + 1, 32)
    for measure in ("dc", "skip_kl"):
        assert list(layout.matrices(measure)) == ["encoder", "decoder"]
        about = read_json(layout.correlation(measure, ".json", "decoder"))
        assert about["num_layers"] == 3 and about["stacks"] == {"encoder": 2, "decoder": 3}
    assert layout.measures() == ["dc", "skip_kl"]


def test_joint_candidates_were_repaired_and_every_cell_is_ranked(finished):
    root = finished[1].root
    joint = read_json(root / "prune_encoder1_decoder1" / "skip_kl" / "candidates.json")
    assert joint["num_layers"] == {"encoder": 2, "decoder": 3} and joint["num_prune"] == 2
    assert joint["joint"]["joint_proposals"] == 2 and joint["joint"]["stack_proposals"] == {"encoder": 2, "decoder": 3}
    assert joint["refined"]["by"] == "repair"
    costs = [-candidate["quality"] for candidate in joint["candidates"]]
    assert costs == sorted(costs) and len(costs) == 2
    for cell in CELLS:
        for name in ("skip_kl", "dc", "top", "spaced", "greedy", "random"):
            for entry in read_json(root / cell / name / "ranked.json")["results"]:
                assert 0 <= entry["capped_error_rate"] <= 100 and entry["ran_into_limit"] >= 0
                assert entry["interval"][0] <= entry["error_rate"] <= entry["interval"][1]
    alone = {c["proposal"]: -c["quality"] for c in read_json(root / "prune_decoder1" / "skip_kl" / "candidates.json")["candidates"]}
    assert list(alone) == sorted(alone, key=alone.get) and min(alone.values()) > 0


def test_pruned_and_repaired_models_are_decoded_and_cut_off_by_the_deep_ones_hypotheses(finished):
    recipe, layout = finished
    deep = read_hypotheses(layout.deep / "hypotheses_test" / "hypotheses.json")
    references = {utterance.utt_id: utterance.text for utterance in read_data_dir(recipe / "data" / "test")}
    results = list(layout.results())
    assert results and all({str(state) for state in result.states()} == {"pruned", "repaired"} for result in results)
    result = results[-1]
    model = load(result.model(result.states()[-1]))
    assert model.origin["pruning"][-1]["removed"] == str(result.start) and "repair" in model.origin["pruning"][-1]
    out = result.model(result.states()[-1]) / "decode_test"
    score = read_json(out / "score.json")
    texts = {line.split(" ", 1)[0]: line.partition(" ")[2].strip() for line in (out / "hyp").read_text().splitlines()}
    for utt_id, text in texts.items():
        assert len(model.tokenizer.encode(text)) <= 2 * len(deep[utt_id]) + 8
    left = {name: stack.num_layers for name, stack in model.stacks.items()}
    assert score["num_layers"] == left and "| 1 | 2 encoder, 3 decoder | " in (out.parent / "README.md").read_text()
    assert score["error_rate"] == pytest.approx(error_rate(references, texts, "wer", "basic").rate)
    assert score["capped_error_rate"] <= min(score["error_rate"], 100) and score["ran_into_limit"] >= 0


def test_there_is_a_report(finished):
    report = json.loads((finished[1].report / "report.json").read_text())
    assert report and (finished[1].report / "report.html").stat().st_size > 1000


def test_the_repaired_models_of_the_grid_are_compared_with_the_searchs_first(finished):
    recipe, layout = finished
    rows = [[field.strip() for field in line.split("|")[1:-1]] for line in benchmark("grid.py", "--exp", layout.root, cwd=recipe).splitlines() if "|" in line]
    header, found = rows[0], {row[0]: dict(zip(rows[0], row)) for row in rows[2:]}
    assert header[:2] == ["removed", "divergence"] and list(found)[0].startswith("decoder=")
    for cell in ("prune_decoder1", "prune_encoder1_decoder1"):
        first = read_json(layout.root / cell / "skip_kl" / "candidates.json")["candidates"][0]["proposal"]
        score = read_json(layout.root / cell / "skip_kl_coarse" / "repaired" / "decode_test" / "score.json")
        assert found[first]["less the first"] == "" and found[first]["raw"] == f"{score['error_rate']:.1f}"
        assert found[first]["repaired"].startswith(f"{score['capped_error_rate']:.1f} [")
        others = [row for name, row in found.items() if name.count("=") == first.count("=") and name != first]
        for row in others:
            less = float(row["repaired"].split()[0]) - float(found[first]["repaired"].split()[0])
            assert float(row["less the first"].split()[0]) == pytest.approx(less, abs=0.11)


def test_searches_are_cut_off_the_same_whether_a_model_is_named_or_found(finished, monkeypatch):
    """At twice the deep model's tokens and 8, which the experiment around the model has."""
    recipe, layout = finished
    model = layout.root / "prune_encoder1_decoder1" / "top" / "pruned"
    scored = read_json(model / "decode_test" / "record.json")["options"]
    limits, limits_of = [], TransformersSeq2Seq._limits
    monkeypatch.setattr(TransformersSeq2Seq, "_limits", lambda self, state: limits.append(limits_of(self, state)) or limits[-1])
    done = call("local/stage6_decode.py", ["--models", str(model), "--data", "test", "--tag", "named", "--metric", scored["metric"],
                                           "--normaliser", scored["normaliser"]], recipe)
    assert done.status == 0, done.said
    found, named = (read_json(model / name / "score.json") for name in ("decode_test", "decode_test_named"))
    same = ("error_rate", "capped_error_rate", "ran_into_limit")
    assert {name: named[name] for name in same} == {name: found[name] for name in same}
    deep = read_hypotheses(layout.deep / "hypotheses_test" / "hypotheses.json").values()
    assert {limit for batch in limits for limit in batch} == {min(load(model).most_tokens, 2 * len(tokens) + 8) for tokens in deep}


def test_data_directories_of_commands_run_where_they_are_allowed(tmp_path, make_data):
    """Kaldi's usual wav.scp: each recording is what a command prints."""
    recipe = small_whisper_recipe(tmp_path)
    for seed, name in enumerate(("train", "dev", "test")):
        given = make_data(12, seed, name=f"own/{name}").path
        table = (given / "wav.scp").read_text().splitlines()
        (given / "wav.scp").write_text("".join(f"{line.split()[0]} cat {line.split()[1]} |\n" for line in table))
    given = {**OPTIONS, "corpus": tmp_path / "own", "model": tmp_path / "model", "proposals": "encoder=1", "finetune_prune": "encoder=1"}
    refused = run(recipe, 0, 0, **given)
    assert refused.returncode == 1 and "commands from data run only with --allow-pipes" in refused.stderr
    for first, last in ((0, 1), (0, 0), (5, 7)):
        done = run(recipe, first, last, allow_pipes="true", **given)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        assert (first, last) != (0, 0) or done.stdout.count("up to date") == 3
    scores = sorted((recipe / "exp" / "small").rglob("decode_test/score.json"))
    assert [read_json(path)["num_utterances"] for path in scores] == [12, 12, 12]
    assert "cat " in (recipe / "data" / "probe" / "wav.scp").read_text()
