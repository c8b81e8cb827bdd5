"""A recipe from run.sh, as users run it: all stages, single stages, again, and wrongly. One small run serves all tests."""

import json
import shlex
import shutil
import subprocess

import pytest
from fixtures.recipe import MODEL, REPOSITORY, environment, run, small_recipe

import comflp.models
from comflp import report
from comflp.artifacts import read_json
from comflp.report.document import Commands
from comflp.costs import ModelCosts


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    recipe = small_recipe(tmp_path_factory.mktemp("hus på landet"))
    done = run(recipe)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return recipe, done


@pytest.fixture
def exp(finished):
    return finished[0] / "exp" / MODEL


@pytest.fixture
def own(finished, tmp_path):
    """A copy of the finished recipe for a test that changes it: the others find it as it was, in any order."""
    folder = finished[0].parent.parent
    return shutil.copytree(folder, tmp_path / "own", symlinks=True) / finished[0].relative_to(folder)


def test_every_stage_echoes_itself_and_leaves_its_artifacts(finished, exp):
    recipe, done = finished
    for stage in range(8):
        assert f"stage {stage}:" in done.stderr
    for name in (
        "deep/model.safetensors", "hidden/hidden.ark", "correlation/dc.npy", "correlation/svcca.svg",
        "prune2/dc/candidates.json", "prune2/dc/ranked.json", "prune2/random/ranked.json", "prune2/top/proposal.json",
        "prune2/dc_fine/pruned/model.safetensors", "prune2/dc_fine/repaired/model.safetensors",
        "prune2/dc_fine/train_repaired/train_log.csv",
        "prune2/dc_fine/finetuned_repaired/decode_test/hyp", "deep/decode_dev/score.json", "report/RESULTS.md",
    ):  # fmt: skip
        assert (exp / name).exists(), name
    assert (recipe / "data" / "valid" / "wav.scp").exists()


def test_what_a_stage_said_is_in_its_log_file(finished, exp):
    said = finished[1].stdout.splitlines()
    for stage in range(8):
        log = (exp / "log" / f"stage{stage}.log").read_text(encoding="utf-8")
        assert f"stage {stage}: " in log and "%|" not in log
    logged = "".join(path.read_text(encoding="utf-8") for path in (exp / "log").glob("*.log")).splitlines()
    assert said and set(said) <= set(logged)


def test_the_report_shows_the_numbers_of_this_run(exp):
    results = (exp / "report" / "RESULTS.md").read_text()
    for model in ("deep", "prune2/dc_fine/pruned", "prune2/dc_fine/repaired", "prune2/dc_fine/finetuned_repaired"):
        assert f"{read_json(exp / model / 'decode_test' / 'score.json')['error_rate']:.2f}" in results
    assert str(read_json(exp / "prune2" / "dc_fine" / "proposal.json")["proposal"]) in results


def test_fine_search_and_decoding_agree(exp):
    """The CER that ranks a proposal is the CER of decoding the pruned model: same function, same data."""
    chosen = read_json(exp / "prune2" / "dc_fine" / "proposal.json")
    ranked = read_json(exp / "prune2" / "dc" / "ranked.json")["results"]
    assert ranked[0]["proposal"] == chosen["proposal"] and ranked[0]["error_rate"] == chosen["error_rate"]


def test_a_second_run_finds_every_stage_up_to_date_and_imports_nothing_that_takes_seconds(finished, exp, tmp_path):
    for name in ("torch", "transformers", "speechbrain", "matplotlib"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is not wanted here')")
    logs = [exp / "log" / f"stage{stage}.log" for stage in range(8)]
    lengths = [log.stat().st_size for log in logs]
    done = run(finished[0], env=environment(PYTHONPATH=str(tmp_path)))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "wrote" not in done.stdout and done.stdout.count("up to date") >= 10
    assert all(b"up to date" in log.read_bytes()[length:] for log, length in zip(logs, lengths))


def test_stages_3_and_4_alone_give_the_same_again(own):
    exp = own / "exp" / MODEL
    def results():
        kept = {}
        for file in sorted(exp.glob("prune2/*/*.json")):
            if not file.name.endswith("record.json"):
                kept[str(file)] = {k: v for k, v in json.loads(file.read_text()).items() if k != "seconds"}
        return kept

    before = results()
    for name in ("dc", "svcca", "uniform", "random"):
        shutil.rmtree(exp / "prune2" / name)
    done = run(own, first=3, last=4)
    assert done.returncode == 0, done.stderr[-3000:]
    assert results() == before


def test_two_processes_behind_a_command_give_the_same_hidden_states(own):
    exp = own / "exp" / MODEL
    before = (exp / "hidden" / "hidden.ark").read_bytes()
    cmd = own / "cmd.sh"
    cmd.write_text(cmd.read_text() + 'export cmd="env STARTED_BY=cmd"\n')
    shutil.rmtree(exp / "hidden")
    done = run(own, first=1, last=1, nj=2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (exp / "hidden" / "hidden.ark").read_bytes() == before


def test_the_same_layers_under_another_name_are_not_trained_again(own):
    exp = own / "exp" / MODEL
    layers = read_json(exp / "prune2" / "dc_fine" / "proposal.json")["proposal"]
    done = run(own, first=5, last=5, proposals=layers)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "up to date" in done.stdout and "epoch" not in done.stdout
    named, typed = (exp / "prune2" / name / "finetuned_repaired" for name in ("dc_fine", f"layers_{layers}"))
    assert typed.exists() and named.resolve() == typed.resolve()


def test_the_card_of_a_fine_tuned_model_tells_its_story(exp):
    card = (exp / "prune2" / "dc_fine" / "finetuned_repaired" / "README.md").read_text()
    facts = read_json(exp / "prune2" / "dc_fine" / "finetuned_repaired" / "record.json")["facts"]
    for line in (f"- CER before fine-tuning: {facts['error_rate_before']:.2f}%", f"- CER: {facts['error_rate']:.2f}%",
                 "trained on data/train", "- Command: python steps/stage5_finetune.py", "_fine, layers"):  # whichever name came first
        assert line in card, line
    decoded = {name: read_json(exp / "prune2" / "dc_fine" / name / "decode_dev" / "score.json")["error_rate"]
               for name in ("repaired", "finetuned_repaired")}
    assert decoded == {"repaired": facts["error_rate_before"], "finetuned_repaired": facts["error_rate"]}


def test_every_command_of_the_report_runs(finished, own, tmp_path):
    """First those of a report after stage 4, which train, decode and report; then those of the report that this leaves."""
    corpus = finished[0].parent.parent / "corpus"
    exp = own / "exp" / MODEL
    options = read_json(exp / "report" / "record.json")["options"]
    searched = shutil.copytree(exp, tmp_path / "searched", symlinks=True, ignore=shutil.ignore_patterns("layers_*", "decode_*", "report"))
    for link in searched.glob("prune*/*/*"):
        if link.is_symlink():
            link.unlink()
    benchmarks = own.parent.parent / "benchmarks"
    benchmarks.symlink_to(REPOSITORY / "benchmarks")
    document = report.build(report.collect(searched), recipe=report.Recipe(f"exp/{MODEL}", options["run"]), max_increase=1000.0)
    [train] = [line for part in document.every(Commands) for _, line in part.steps]
    words = shlex.split(train)
    assert words[words.index("--corpus") + 1] == str(corpus)
    typed(own, train)
    assert (exp / "prune0" / "layers_none" / "finetuned" / "decode_test" / "score.json").exists()
    content = read_json(exp / "report" / "report.json")
    assert [row["Model"] for row in content["tables"]["models"]][:2] == ["Deep model", "Deep model, trained on"]
    smaller = {"deploy.py": " --models deep --num-utterances 1 --runs 1 --threads 1", "export.py": " --num-utterances 2"}
    assert all(any(name in line for line in content["commands"]) for name in smaller)
    for line in content["commands"]:
        typed(own, line + next((more for name, more in smaller.items() if name in line), ""))


def typed(recipe, line):
    """Run a line as the report says: in the recipe's folder, after path.sh."""
    done = subprocess.run(["bash", "-c", f". ./path.sh && {line}"], cwd=recipe, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, line + done.stdout[-2000:] + done.stderr[-3000:]


def test_seeds_make_a_table(finished, own, tmp_path):
    """One seed, run.sh's own, whose deep model and searches are there."""
    exp = own / "exp" / MODEL
    options = {"--seeds": 1234, "--num-prune": 2, "--proposals": "top", "--distilled": "top", "--repaired": "top", "--epochs": 1,
               "--figure": tmp_path / "table.svg"}
    words = [str(word) for pair in options.items() for word in pair] + ["--corpus", str(finished[0].parent.parent / "corpus")]
    done = subprocess.run(["bash", "steps/seeds.sh", *words], cwd=own, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[1:]] == ["| Deep model", "| Top drop", "| Top drop (repaired)", "| Top drop (distill both)"]
    made = "deep", "prune2/top/finetuned_e1", "prune2/top/finetuned_repaired_e1", "prune2/top/finetuned_distill_both_e1"
    scored = [exp / name / "decode_test" / "score.json" for name in made]
    assert [row[-2:] for row in rows[1:]] == [[f"{read_json(path)['error_rate']:.2f}", "1 |"] for path in scored]
    drawn = (tmp_path / "table.svg").read_text()
    assert all(f"<!-- {words} -->" in drawn for words in ("Top drop", "pruned", "repaired", "fine-tuned and distilled", "fine-tuned from the repaired model"))


def test_two_processes_train(finished, own):
    """The deep model by a schedule that goes by steps, kept after its first epoch too, and a pruned one with layerdrop."""
    corpus = finished[0].parent.parent / "corpus"
    done = run(own, first=0, last=0, model="two", train_nj=2, corpus=corpus, deep_opts="--snapshot_epochs [1]")
    assert done.returncode == 0, done.stderr[-3000:]
    deep = own / "exp" / "two"
    assert done.stdout.count("epoch 2:") == 1
    first, trained = (comflp.models.load(deep / name).output.weight for name in ("train_deep/epoch1", "deep"))
    assert not first.equal(trained)
    last = (deep / "train_deep" / "train_log.csv").read_text().splitlines()[-1]
    assert float(last.split(",")[1]) < 2e-5, "the schedule has to come near its end, from 1e-3"
    done = run(own, first=5, last=5, model="two", train_nj=2, proposals="1,3", corpus=corpus)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (deep / "prune2" / "layers_1,3" / "finetuned_repaired" / "model.safetensors").exists()


def test_an_error_of_two_processes_is_as_short_as_that_of_one(finished):
    done = run(finished[0], first=4, last=4, model="nothing-yet", nj=2)
    assert done.returncode == 1
    assert "does not exist; stage 0" in done.stderr and "Traceback" not in done.stderr


def test_a_stage_before_its_inputs_names_the_stage_that_makes_them(finished):
    done = run(finished[0], first=3, last=3, model="nothing-yet")
    assert done.returncode == 1
    assert "does not exist" in done.stderr and "stage 2" in done.stderr and "Traceback" not in done.stderr


def test_there_is_no_report_on_nothing(finished):
    done = run(finished[0], first=7, last=7, model="nothing-yet")
    assert done.returncode == 1 and "exp/nothing-yet holds nothing of an experiment: no model, search or result; stage 0 begins one" in done.stderr
    assert not (finished[0] / "exp" / "nothing-yet" / "report").exists()


@pytest.mark.parametrize("num_prune", [0, 4, "3:9"])
def test_n_outside_1_to_l_minus_1_is_an_error(finished, num_prune):
    done = run(finished[0], first=3, last=3, num_prune=num_prune)
    assert done.returncode == 1
    assert "num-prune" in done.stderr.replace("_", "-") and "Traceback" not in done.stderr


def test_a_target_takes_the_place_of_n(own):
    exp = own / "exp" / MODEL
    done = run(own, 3, 5, target="layers=2,macs=99%")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "removing half of the encoder's layers can make this model at most" in done.stdout and "wrote" not in done.stdout
    assert ModelCosts.read(exp / "costs.json").num_layers == {"encoder": 4}
    done = run(own, 3, 3, target="params=1%")
    assert done.returncode == 1 and "--target params=1% cannot be reached" in done.stderr and "Traceback" not in done.stderr


def test_one_measure_alone_needs_none_of_the_others(own):
    exp = own / "exp" / MODEL
    for name in ("correlation", "prune2"):
        shutil.rmtree(exp / name)
    done = run(own, 2, 5, measures="skip_kl", baselines="random")
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(path.name for path in exp.glob("prune2/*/finetuned_repaired")) == ["finetuned_repaired"] * 2
    assert (exp / "prune2/skip_kl_fine/finetuned_repaired").is_symlink() and not list(exp.glob("prune2/dc*"))
    typed = run(own, 5, 5, measures="skip_kl", proposals="skip_kl_fine dc_fine top")  # as the default is, but asked for
    assert typed.returncode == 1 and "prune2/dc_fine/proposal.json does not exist; stage 4" in typed.stderr


def test_other_options_stop_the_stage_and_are_named(finished):
    done = run(finished[0], first=2, last=2, seed=5)
    assert done.returncode == 1
    assert "seed" in done.stderr and "--force" in done.stderr


def test_a_deep_model_trained_anew_is_not_mixed_with_old_hidden_states(own):
    exp = own / "exp" / MODEL
    other = own / "exp" / "other"
    shutil.copytree(exp, other, symlinks=True, ignore=shutil.ignore_patterns("report", "train", "train_deep"))
    (other / "deep" / "config.json").write_text((other / "deep" / "config.json").read_text() + " ")
    done = run(own, first=4, last=4, model="other")
    assert done.returncode == 1
    assert "made from another model" in done.stderr or "model:" in done.stderr
