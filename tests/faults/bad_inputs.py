"""A small recipe with everything made, the commands of all scripts in it, for in_process.call."""

from __future__ import annotations

import argparse
import io
import json
import runpy
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.ipc
import soundfile
import speechbrain  # noqa: F401  imported once, and not within the first command
import transformers  # noqa: F401
from fixtures.in_process import ROOT, call

from comflp.data.data_dir import Utterance, write_data_dir

_TRAINING = """\
seed: 1
number_of_epochs: 1
lr: 0.001
layerdrop: 0.0
max_batch_seconds: 60
max_batch_utterances: 16
batch_order: random
grad_accumulation_factor: 1
max_grad_norm: 5.0
optimizer: !name:torch.optim.AdamW
    lr: !ref <lr>
scheduler: !name:torch.optim.lr_scheduler.ReduceLROnPlateau
augmentation: null
freeze_feature_extractor: False
gradient_checkpointing: False
monitor: error_rate
average: 1
early_stopping: null
snapshot_epochs: []
snapshot_measure: dc
snapshot_utterances: 4
distill_ctc_weight: 1.0
distill_hidden_weight: 1.0
distill_temperature: 1.0
recipe_options:
    num_valid: 4
"""
_ARCHITECTURE = """\
unit: char
vocab_size: null
sample_rate: 8000
architecture: !new:comflp.models.own.transformer_ctc.Architecture
    sample_rate: !ref <sample_rate>
    n_mels: 20
    d_model: 8
    nhead: 2
    d_ffn: 8
    num_layers: 3
"""

COMMANDS = {
    "local/train_deep.py": "deep.yaml --train data/train --dev data/dev --out exp",
    "local/stage1_dump_hidden_states.py": "--model exp/deep --data data/probe --out exp/hidden --device cpu",
    "local/stage2_correlation.py": "--hidden exp/hidden --out exp/correlation --measure dc --batch-size 2 --num-batch 2 --device cpu",
    "local/stage3_coarse_search.py": "--exp exp --measure dc --num-prune 1 --device cpu --beam-size 2",
    "local/stage4_fine_search.py": "--model exp/deep --exp exp --num-prune 1 --measures dc --baselines top --data data/valid --device cpu",
    "local/stage5_finetune.py": "finetune.yaml --exp exp --num-prune 1 --proposal top",
    "local/stage6_decode.py": "--exp exp --data valid --device cpu",
    "local/stage7_report.py": "--exp exp",
    "local/export.py": "--model exp/deep --data data/valid --to torch --precision int8 --num-utterances 2",
    "local/fetch_model.py": "--model exp/deep --out fetched",
    "local/fetch.py": "--url file://{here}/corpus.tgz --bytes 4 --out fetched.tgz",
    "local/launch.py": "script.py",
    "local/unpack.py": "--archive corpus.tgz --member corpus --target unpacked",
    "local/prepare_aishell.py": "--corpus aishell --data prepared/aishell",
    "local/recipe_options.py": "finetune.yaml",
    "local/select_subsets.py": "--data data --num-valid 3 --num-probe 3",
    "local/table_of_seeds.py": "--exp exp --num-prune 1 --data valid",
    "utils/add_noise.py": "--data data/valid --snr 10 --out prepared/noisy --force",
    "utils/csv_to_data_dir.py": "--csv table.csv --out prepared/csv --force",
    "utils/hf_to_data_dir.py": "--dataset hf --out prepared/hf --speaker-column who --id-column key --force",
    "utils/manifest_to_data_dir.py": "--manifest manifest.jsonl --out prepared/manifest --force",
    "utils/subset_data_dir.py": "--data data/train --num-utterances 2 --out prepared/subset",
    "utils/validate_data_dir.py": "data/valid",
    "recipes/fsdd/local/make_strings.py": "--corpus fsdd --data prepared/fsdd --num-train 2 --num-short 1 --num-dev 1 --num-test 1",
    "recipes/mini/local/make_corpus.py": "--target prepared/mini --num-train 1 --num-dev 1 --num-test 1 --processes 1",
    "recipes/librispeech/local/prepare_librispeech.py": "--corpus libri --data prepared/libri --train a --dev b --test c --test-other d",
    "recipes/whisper/local/prepare_sets.py": "--corpus prompts --data prepared/prompts --num-dev 1 --num-test 1",
}
"""Script -> a command that works, in the order in which they need each other."""


def base(script: str, here: Path) -> list[str]:
    """The words of the command that works."""
    return COMMANDS[script].format(here=here).split()


class _Seen(BaseException):
    """Carries the parser that a script has made."""


def options_of(script: str, here: Path) -> list[str]:
    """The options of a script that take a value, and the places of its positional arguments (""), from its own parser."""
    parse = argparse.ArgumentParser.parse_known_args

    def caught(self, *_, **__):
        raise _Seen(self)

    argparse.ArgumentParser.parse_known_args = caught
    argv, path = sys.argv, list(sys.path)
    try:
        sys.argv, sys.path[:0] = [script], [str((ROOT / script).parent), str(ROOT / "local")]
        runpy.run_path(str(ROOT / script), run_name="__main__")
    except _Seen as seen:
        actions = seen.args[0]._actions
    finally:
        argparse.ArgumentParser.parse_known_args = parse
        sys.argv, sys.path[:] = argv, path
    valued = [action for action in actions if action.nargs != 0]
    return [action.option_strings[-1] if action.option_strings else "" for action in valued]


def make_recipe(here: Path) -> None:
    """Inputs of all scripts under ``here``; then every command is run once, so that its results are there."""
    rng = np.random.default_rng(0)
    (here / "wav").mkdir()
    utterances = []
    for number in range(6):
        path = here / "wav" / f"u{number}.wav"
        soundfile.write(path, rng.uniform(-0.3, 0.3, 4000 + 400 * number), 8000)
        utterances.append(Utterance(f"u{number}", f"wav/u{number}.wav", "ab cd", f"s{number % 2}", 0.5 + 0.05 * number))
    for name in ("train", "dev", "test"):
        write_data_dir(here / "data" / name, utterances)
    (here / "finetune.yaml").write_text(_TRAINING)
    (here / "deep.yaml").write_text(_TRAINING + _ARCHITECTURE)
    (here / "table.csv").write_text("wav,text,speaker,id\nwav/u0.wav,one,s,a\nwav/u1.wav,two,s,b\n")
    (here / "manifest.jsonl").write_text(
        '{"audio_filepath": "wav/u0.wav", "text": "one"}\n{"audio_filepath": "wav/u1.wav", "text": "two", "offset": 0.1, "duration": 0.2}\n'
    )
    (here / "script.py").write_text("")
    _write_hf(here)
    _write_corpora(here, rng)
    for script in ("local/train_deep.py", "local/select_subsets.py", *COMMANDS):
        outcome = call(script, base(script, here), here)
        assert outcome.status == 0, f"{script}: {outcome.said}"


def _write_hf(here: Path) -> None:
    (here / "hf").mkdir()
    audio = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("audio", audio), ("text", pyarrow.string()), ("who", pyarrow.string()), ("key", pyarrow.string())])
    rows = [{"audio": {"bytes": (here / "wav" / f"u{i}.wav").read_bytes(), "path": f"u{i}.wav"}, "text": "a", "who": "s", "key": f"k{i}"}
            for i in range(2)]
    with pyarrow.OSFile(str(here / "hf" / "data-00000-of-00001.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, schema) as stream:
        stream.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    (here / "hf" / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))


def _write_corpora(here: Path, rng) -> None:
    noise = rng.uniform(-0.3, 0.3, 2000)
    with tarfile.open(here / "corpus.tgz", "w:gz") as tar:
        info = tarfile.TarInfo("corpus/a.txt")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"text"))
    (here / "fetched.tgz").write_text("here")
    lines = []
    for number, name in enumerate(("train", "dev", "test")):
        (here / "aishell" / "wav" / name / "S1").mkdir(parents=True)
        soundfile.write(here / "aishell" / "wav" / name / "S1" / f"a{number}.wav", noise, 8000)
        lines.append(f"a{number} x y\n")
    (here / "aishell" / "transcript").mkdir()
    (here / "aishell" / "transcript" / "aishell_transcript_v0.8.txt").write_text("".join(lines))
    for part in "abcd":
        folder = here / "libri" / "LibriSpeech" / part / "1" / "2"
        folder.mkdir(parents=True)
        soundfile.write(folder / "1-2-0000.flac", noise, 8000)
        (folder / "1-2.trans.txt").write_text("1-2-0000 TEXT\n")
    (here / "prompts").mkdir()
    for number in range(3):
        soundfile.write(here / "prompts" / f"p{number}.wav", noise, 8000)
    (here / "prompts" / "text").write_text("p0: Please dial one now.\np1: Please dial two now.\np2: Please dial three now.\n")
    (here / "fsdd" / "recordings").mkdir(parents=True)
    for digit in range(10):
        for take in (0, 2, 5):
            soundfile.write(here / "fsdd" / "recordings" / f"{digit}_ann_{take}.wav", noise, 8000)
