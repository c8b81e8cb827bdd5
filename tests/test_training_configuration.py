"""How the configuration of a training is read: overrides, run options of SpeechBrain, and values that cannot be."""

import math
import re
import sys
from pathlib import Path

import pytest
import speechbrain
from fixtures.training import CONFIGURATION

from comflp.errors import ComflpError

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
CONFIGURATIONS = [path for path in RECIPES.glob("*/conf/*.yaml") if "optimizer" in path.read_text(encoding="utf-8")]
sys.path.insert(0, str(RECIPES.with_name("local")))
import hparams  # noqa: E402


def test_what_a_record_keeps_of_a_configuration(tmp_path):
    """Every value under a name of its own, however it is written; run options where they were given, and nothing else."""
    path = tmp_path / "finetune.yaml"

    def options(*overrides, text=CONFIGURATION):
        path.write_text(text)
        return hparams.load(str(path), overrides).options()

    usual = options()
    assert usual["optimizer"] == "!name:torch.optim.AdamW" and usual["snapshot_epochs"] == "[0]" and usual["augmentation"] == "null"
    assert options("--noprogressbar", text=CONFIGURATION.replace("lr: 0.0005", "lr: 5e-4") + "# a comment\n") == usual
    changed = options("--lr", "0.1", "--precision", "bf16", "--grad_accumulation_factor", "2")
    differing = {key for key in {*usual, *changed} if usual.get(key) != changed.get(key)}
    assert differing == {"lr", "optimizer.lr", "precision", "grad_accumulation_factor"}
    endless = options(text=CONFIGURATION.replace("max_grad_norm: 5.0", "max_grad_norm: .inf"))
    assert options("--max_grad_norm", "inf") == endless


def test_what_the_command_line_says_goes_before_the_file_and_nothing_else_does(tmp_path):
    path = tmp_path / "finetune.yaml"
    path.write_text(CONFIGURATION)
    plain, given = hparams.load(str(path), []), hparams.load(str(path), ["--grad_accumulation_factor=4", "--noprogressbar"])
    assert plain.run_opts == {} and plain.values["max_grad_norm"] == 5.0
    assert given.run_opts == {"grad_accumulation_factor": 4, "noprogressbar": True}
    assert given.values["grad_accumulation_factor"] == 4, "a schedule that counts steps has to know"


def test_null_stays_null_after_a_repair(tmp_path):
    path = tmp_path / "finetune.yaml"
    path.write_text(CONFIGURATION.replace("early_stopping: null", "early_stopping: 3") + "    early_stopping: null\n    snapshot_epochs: [1, 2]\n")
    values = hparams.load(str(path), [], variant="after_repair").values
    assert values["early_stopping"] is None and values["snapshot_epochs"] == [1, 2] and values["lr"] == 0.0001


def test_speechbrains_options_are_those_that_it_has():
    assert set(speechbrain.parse_arguments(["conf.yaml"])[1]) == hparams.RUN_OPTIONS


@pytest.mark.parametrize("typed", [[], ["--lr", "5e-4"], ["--lr=5e-4", "--snapshot_epochs", "[0, 1]"], ["--lr", "-1", "--tag"], ["--lr", "!ref", "<x>"]])
def test_overrides_are_read_as_speechbrain_reads_them(typed):
    run_opts, lines = hparams._parsed(typed)
    assert run_opts == {} and "\n".join(lines) == speechbrain.parse_arguments(["conf.yaml", *typed])[2]


def test_a_word_that_belongs_to_no_key():
    with pytest.raises(ComflpError, match="what is 'word'"):
        hparams._parsed(["word", "--lr", "1"])


@pytest.mark.parametrize(("typed", "message"), [
    (["--optimizer", "adam"], "SpeechBrain would take this for --optimizer_step_limit"),
    (["--learning_rate", "1"], "has no such key"),
    (["--prec", "bf16"], "options are written in full"),
    (["--test_only"], "has no place in this training"),
    (["--debug", "True"], "^--debug: 'True' is too much; leave it out$"),
    (["--debug=True"], "^argument --debug: ignored explicit argument 'True'$"),
    (["--precision", "fp8"], "^argument --precision: invalid choice: 'fp8' [^\n]*$"),
    (["--max_grad_norm", "large"], "^argument --max_grad_norm: invalid float value: 'large'$"),
])  # fmt: skip
def test_an_option_that_is_typed_wrongly_is_refused_in_a_line(tmp_path, capfd, typed, message):
    path = tmp_path / "finetune.yaml"
    path.write_text(CONFIGURATION)
    with pytest.raises(ComflpError, match=message):
        hparams.load(str(path), typed)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("ends", ["SystemExit(143)", "KeyboardInterrupt"])
def test_a_run_that_is_ended_while_it_imports_is_no_fault_of_the_configuration(tmp_path, monkeypatch, ends):
    """As the handler of SIGTERM, and Ctrl-C, end it; whatever imports a class by name catches that too."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"ended_{ends[:4]}"
    (tmp_path / f"{name}.py").write_text(f"raise {ends}\n")
    path = tmp_path / "finetune.yaml"
    path.write_text(CONFIGURATION + f"\nother: !new:{name}.Thing\n")
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        hparams.load(str(path), []).check()


@pytest.mark.parametrize(("typed", "message"), [
    (["--monitor", "cer"], "finetune.yaml: monitor is cer and has to be one of error_rate, loss"),
    (["--monitor", "null"], "monitor is None and has to be one of"),
    (["--snapshot_measure", "skip_kl"], "snapshot_measure is skip_kl and has to be one of dc, svcca, "),
    (["--snapshot_measure", "../../x", "--snapshot_epochs", "[]"], "snapshot_measure is ../../x and has to be one of dc"),
    (["--scheduler", "null"], "scheduler is None and has to be a class of schedules"),
    (["--scheduler", "!name:torch.optim.lr_scheduler.StepLR"], "finetune.yaml: scheduler cannot be used: StepLR.__init__() missing"),
    (["--scheduler", "!name:speechbrain.nnet.schedulers.NewBobScheduler"], "scheduler cannot be used: 'NewBobScheduler' object has no attribute 'step'"),
    (["--augmentation", "foo"], "augmentation is foo and has to be an object"),
    (["--architecture", "foo"], "architecture is foo and has to be an object, !new:comflp.models.own.transformer_ctc.Architecture"),
])  # fmt: skip
def test_a_value_that_would_be_found_wrong_in_training_is_refused_before_it(tmp_path, typed, message):
    path = tmp_path / "finetune.yaml"
    path.write_text(CONFIGURATION + "architecture: !new:comflp.models.own.transformer_ctc.Architecture\n")
    with pytest.raises(ComflpError, match=re.escape(message)):
        hparams.load(str(path), typed).check()


def test_an_optimizer_that_cannot_be_made_is_named(tmp_path):
    path = tmp_path / "finetune.yaml"
    for changed, message in (("lr: -1.0", "optimizer cannot be used: Invalid learning rate: -1.0"), ("rate: 1", "unexpected keyword argument 'rate'")):
        path.write_text(CONFIGURATION.replace("    lr: !ref <lr>", f"    {changed}"))
        with pytest.raises(ComflpError, match=message):
            hparams.load(str(path), []).check()


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_the_configurations_of_the_recipes_pass(path):
    hparams.load(str(path), []).check()


def test_a_run_option_changes_nothing_of_the_values_after_a_repair(tmp_path):
    path = tmp_path / "finetune.yaml"
    path.write_text(CONFIGURATION + "    max_grad_norm: .inf\n    grad_accumulation_factor: 2\n")
    loaded = hparams.load(str(path), ["--precision", "fp32", "--grad_accumulation_factor", "4"], variant="after_repair")
    assert loaded.values["max_grad_norm"] == math.inf and loaded.values["grad_accumulation_factor"] == 4 and loaded.values["lr"] == 0.0001
    assert loaded.run_opts == {"precision": "fp32", "grad_accumulation_factor": 4}
