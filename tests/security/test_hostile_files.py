"""Data and models from strangers: what they try to run is not run, and what they try to write stays inside."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

import comflp.models
from comflp.data.audio import read_audio
from comflp.data.data_dir import Utterance, read_data_dir, write_data_dir
from comflp.errors import ComflpError
from comflp.inference.hidden_states import read
from comflp.measures.matrix_file import read_matrix
from fixtures.models import make_model

LOCAL = Path(__file__).resolve().parents[2] / "local"


class RunsACommand:
    """Whoever unpickles this runs a command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture
def marker(tmp_path):
    """A path that no test may find at its end: the attacks make it."""
    path = tmp_path / "attacked"
    yield path
    assert not path.exists(), "the attack succeeded"


def test_the_attack_works_on_who_unpickles(tmp_path):
    pickle.loads(pickle.dumps(RunsACommand(f"touch '{tmp_path}/proof'")))
    assert (tmp_path / "proof").exists()


def data_dir(tmp_path, wav, utt_id="u1"):
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "wav.scp").write_text(f"{utt_id} {wav}\n")
    (directory / "text").write_text(f"{utt_id} hello\n")
    (directory / "utt2dur").write_text(f"{utt_id} 1.0\n")
    return directory


def test_a_pipe_in_wav_scp_does_not_run(tmp_path, marker):
    directory = data_dir(tmp_path, f"touch {marker} |")
    with pytest.raises(ComflpError, match=r"wav\.scp:1: .*is a pipe.*--allow-pipes"):
        read_data_dir(directory)
    with pytest.raises(ComflpError, match="is a pipe"):
        read_audio(Utterance("u1", f"touch {marker} |", "", "s", 1.0), 16000)


@pytest.mark.parametrize("wav", ["$(touch {})", "`touch {}`", "a.wav; touch {}", "| touch {}"])
def test_a_path_in_wav_scp_is_only_a_path(tmp_path, marker, wav):
    wav = wav.format(marker)
    with pytest.raises(ComflpError):
        read_data_dir(data_dir(tmp_path, wav), allow_pipes=True)
    with pytest.raises(ComflpError):
        read_audio(wav, 16000)


@pytest.mark.parametrize("utt_id", ["../u1", "a/b", "..", "a\\b", "u\x1b[2J", "u\0"])
def test_ids_cannot_be_paths_or_control_a_terminal(tmp_path, utt_id):
    with pytest.raises(ComflpError, match="id"):
        read_data_dir(data_dir(tmp_path, "a.wav", utt_id))
    for bad in (Utterance(utt_id, "a.wav", "x", "s", 1.0), Utterance("u", "a.wav", "x", utt_id, 1.0)):
        with pytest.raises(ComflpError, match="id"):
            write_data_dir(tmp_path / "out", [bad])
    assert not (tmp_path / "out").exists()


def test_a_text_cannot_add_lines_to_a_data_directory(tmp_path):
    with pytest.raises(ComflpError, match="several lines"):
        write_data_dir(tmp_path / "out", [Utterance("u1", "a.wav", "hello\nu2 world", "s", 1.0)])


@pytest.mark.parametrize("place", ["touch {} |", "touch {} |:15", "/etc/passwd:0", "hidden.ark:-1"])
def test_the_places_in_hidden_scp_are_not_run_or_followed(tmp_path, marker, place):
    (tmp_path / "hidden.ark").write_bytes(b"u1 \0BFM \4" + np.int32(1).tobytes() + b"\4" + np.int32(2).tobytes() + b"\0" * 8)
    (tmp_path / "hidden.scp").write_text(f"u1 {place.format(marker)}\n")
    with pytest.raises(ComflpError, match="hidden"):
        read(tmp_path)


def test_a_pickle_for_a_matrix_is_refused(tmp_path, marker):
    np.save(tmp_path / "dc.npy", np.array([RunsACommand(f"touch '{marker}'")], dtype=object), allow_pickle=True)
    (tmp_path / "svcca.npy").write_bytes(pickle.dumps(RunsACommand(f"touch '{marker}'")))
    for name in ("dc.npy", "svcca.npy"):
        with pytest.raises(ComflpError, match=name):
            read_matrix(tmp_path / name)


@pytest.fixture
def model_directory(tmp_path):
    """A wav2vec2 model as the hub serves one."""
    directory = tmp_path / "model"
    make_model(directory, "wav2vec2", "ABC ")
    comflp.models.load(directory)
    return directory


def test_a_pickle_for_weights_is_refused(model_directory, marker):
    (model_directory / "model.safetensors").unlink()
    torch.save({"weights": RunsACommand(f"touch '{marker}'")}, model_directory / "pytorch_model.bin")
    with pytest.raises(ComflpError, match="cannot be loaded"):
        comflp.models.load(model_directory)


def test_code_beside_a_model_does_not_run(model_directory, marker):
    (model_directory / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nEvil = 1\n")
    for name, keys in (("config.json", ("AutoConfig", "AutoModelForCTC")), ("tokenizer_config.json", ("AutoTokenizer",))):
        content = json.loads((model_directory / name).read_text())
        content["auto_map"] = {key: "evil.Evil" for key in keys}
        (model_directory / name).write_text(json.dumps(content))
    try:
        comflp.models.load(model_directory)  # may ignore the code, or refuse the model; `marker` says that it did not run
    except ComflpError as error:
        assert "model" in str(error)


def test_hyperparams_yaml_is_refused_unless_trusted(tmp_path, marker):
    (tmp_path / "hyperparams.yaml").write_text(f"a: !apply:os.system ['touch {marker}']\n")
    with pytest.raises(ComflpError, match="trust"):
        comflp.models.load(tmp_path)


def test_a_model_card_cannot_change_what_loads(model_directory, marker):
    card = "---\nlibrary_name: !!python/object/apply:os.system ['touch {0}']\n---\n<script>touch {0}</script>\n"
    (model_directory / "README.md").write_text(card.format(marker))
    pruned = comflp.models.load(model_directory)
    pruned.save(model_directory.parent / "saved")
    assert "<script>" not in (model_directory.parent / "saved" / "README.md").read_text()


def member(name, content=b"x", **more):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


@pytest.mark.parametrize(
    "hostile",
    [
        [member("corpus/../../outside")],
        [member("{tmp_path}/absolute-outside")],
        [member("corpus/link", b"", type=tarfile.SYMTYPE, linkname="../.."), member("corpus/link/outside")],
        [member("corpus/hard", b"", type=tarfile.LNKTYPE, linkname="../outside")],
        [member("corpus/fifo", b"", type=tarfile.FIFOTYPE)],
    ],
    ids=["dot-dot", "absolute", "symbolic link", "hard link", "fifo"],
)
def test_an_archive_is_unpacked_only_inside_its_target(tmp_path, hostile):
    archive, target = tmp_path / "corpus.tgz", tmp_path / "in" / "target"
    target.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        for info, content in [member("corpus/good"), *hostile]:
            info.name = info.name.format(tmp_path=tmp_path)
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, str(LOCAL / "unpack.py"), "--archive", str(archive), "--member", "corpus", "--target", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "outside the target; not unpacked" in done.stderr and "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path / "absolute-outside").exists()


def test_a_sound_archive_is_unpacked(tmp_path):
    archive = tmp_path / "corpus.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        info, content = member("corpus/good", b"speech")
        tar.addfile(info, io.BytesIO(content))
    subprocess.run(
        [sys.executable, str(LOCAL / "unpack.py"), "--archive", str(archive), "--member", "corpus", "--target", str(tmp_path)],
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "corpus" / "good").read_bytes() == b"speech"


def test_options_of_a_recipe_are_never_evaluated(tmp_path, marker):
    recipe = tmp_path / "recipe"
    (recipe / "utils").mkdir(parents=True)
    shutil.copy(LOCAL.parent / "utils" / "parse_options.sh", recipe / "utils")
    (recipe / "run.sh").write_text(
        "#!/usr/bin/env bash\nset -euo pipefail\n# options\nmodel=a   # name\n# end of options\n. utils/parse_options.sh\necho \"$model\"\n"
    )
    for value in (f"$(touch {marker})", f"`touch {marker}`", f"a; touch {marker}", f"a[$(touch {marker})]"):
        done = subprocess.run(["bash", "run.sh", "--model", value], cwd=recipe, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, value + "\n")
