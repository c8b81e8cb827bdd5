"""Damaged results of one stage, read by the next: hidden states, matrices, candidates, configurations, models."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import kaldiio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import comflp.models
from comflp.inference.hidden_states import read
from comflp.measures.matrix_file import read_matrix
from comflp.search.coarse.block_matrix import BlockMatrix
from comflp.search.coarse.candidates_file import read_candidates
from faults.damage import CASES, damaged, outcome

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "local"))
import hparams  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def dump(folder):
    """hidden.ark and hidden.scp of three utterances: the bytes of both."""
    rng = np.random.default_rng(0)
    matrices = {f"u{number}": rng.standard_normal((5, 4)).astype(np.float32) for number in range(3)}
    kaldiio.save_ark(str(folder / "hidden.ark"), matrices, scp=str(folder / "hidden.scp"))
    return {name: (folder / name).read_bytes() for name in ("hidden.ark", "hidden.scp")}


@pytest.mark.parametrize("name", ["hidden.ark", "hidden.scp"])
@CASES
@given(data=st.data())
def test_hidden_states(folder, dump, name, data):
    for file, content in dump.items():
        (folder / file).write_bytes(content)
    (folder / name).write_bytes(data.draw(damaged(dump[name], header=80)))
    found = outcome(lambda: read(folder), folder)
    if found is not None:
        utt_ids, hidden = found
        values = np.asarray(hidden)
        assert len(utt_ids) == len(set(utt_ids)) == len(hidden) and values.shape == hidden.shape and values.dtype == np.float32


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@CASES
@given(
    content=st.one_of(
        damaged(npy(np.full((5, 5), 0.5)), header=128 + 200),
        st.sampled_from([np.eye(5).astype(bool), np.ones((5, 4)), np.ones(5), np.full((5, 5), np.nan), np.full(3, "a")]).map(npy),
    )
)
def test_matrix(folder, content):
    path = folder / "dc.npy"
    path.write_bytes(content)
    array = outcome(lambda: read_matrix(path), path)
    matrix = None if array is None else outcome(lambda: BlockMatrix(array).values, "matrix")
    if matrix is not None:
        assert matrix.dtype == np.float64 and matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
        assert (matrix == matrix.T).all() and ((0 <= matrix) & (matrix <= 1)).all()


CANDIDATES = {
    "measure": "dc",
    "num_layers": 5,
    "num_prune": 2,
    "candidates": [{"proposal": "1,3", "quality": 0.9}, {"proposal": "2-3", "quality": 0.8}],
}
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3))


@st.composite
def changed_candidates(draw):
    """CANDIDATES with one value replaced by another, or left out."""
    content = json.loads(json.dumps(CANDIDATES))
    holder = draw(st.sampled_from([content, content, *content["candidates"]]))
    key = draw(st.sampled_from(sorted(holder)))
    if draw(st.booleans()):
        holder[key] = draw(st.one_of(JSON, st.sampled_from(["1", "1,1", "2-1", "5-6", "1,3", 3, [[]], [{}], {"a": 1}])))
    else:
        del holder[key]
    return json.dumps(content).encode()


@CASES
@given(content=st.one_of(damaged(json.dumps(CANDIDATES).encode()), changed_candidates()))
def test_candidates(folder, content):
    path = folder / "candidates.json"
    path.write_bytes(content)
    found = outcome(lambda: read_candidates(path), path)
    if found is not None:
        candidates, _ = found
        assert len({candidate.proposal for candidate in candidates}) == len(candidates) > 0
        assert len({candidate.proposal.num_removed for candidate in candidates}) == 1


CONFIGURATION = b"lr: 0.001\nepochs: 3\nname: small\nbetas: [0.9, 0.98]\nfolder: !ref exp/<name>\n"


@CASES
@given(content=damaged(CONFIGURATION))
def test_configuration(folder, content):
    path = folder / "conf.yaml"
    path.write_bytes(content)
    found = outcome(lambda: hparams.load(str(path), []).values, path)
    assert found is None or isinstance(found, dict)


@pytest.fixture(scope="module")
def sound_model(tmp_path_factory):
    """A saved model of two small layers."""
    from comflp.models.own.tokenizer import SentencePieceTokenizer
    from comflp.models.own.transformer_ctc import Architecture, TransformerCTC

    directory = tmp_path_factory.mktemp("model") / "sound"
    architecture = Architecture(sample_rate=8000, n_mels=20, d_model=8, nhead=2, d_ffn=8, num_layers=2)
    TransformerCTC(SentencePieceTokenizer.train(["abc de"]), architecture).save(directory)
    return directory


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.model"])
@settings(CASES, max_examples=30)
@given(data=st.data())
def test_model(sound_model, folder, name, data):
    directory = folder / "model"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(sound_model, directory)
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(data.draw(damaged(content, header=400)))
    model = outcome(lambda: comflp.models.load(directory), directory / name, directory)
    assert model is None or model.num_layers == 2


def test_a_stage_says_it_in_one_line_and_exits_with_1(sound_model, folder):
    """What outcome() checks of the library, seen once from the outside."""
    directory = folder / "half a model"
    shutil.copytree(sound_model, directory)
    (directory / "model.safetensors").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "local" / "stage1_dump_hidden_states.py"), "--model", str(directory),
         "--data", str(folder), "--out", str(folder / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "stage1_dump_hidden_states.py: error: " in done.stderr
