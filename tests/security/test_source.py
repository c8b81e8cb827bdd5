"""What no Python file of the project does: run what it read. Checked on the syntax tree of every one of them."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted(
    str(path.relative_to(REPOSITORY))
    for folder in ("comflp", "local", "utils", "recipes", "benchmarks")
    for path in REPOSITORY.glob(f"{folder}/**/*.py")
    if not {"data", "exp", "downloads"} & set(path.relative_to(REPOSITORY).parts[2:-1])
)

PIPES = "comflp/data/audio.py"  # runs the commands of wav.scp, after --allow-pipes
YAML = {"local/hparams.py"}  # the user's own
CALLS = {
    "eval": set(),
    "exec": set(),
    "os.system": set(),
    "os.popen": set(),
    "load_hyperpyyaml": YAML,
    "tempfile.mktemp": set(),
    **{f"yaml.{name}": set() for name in ("load", "load_all", "full_load", "unsafe_load", "UnsafeLoader", "FullLoader", "Loader")},
    "shutil.unpack_archive": set(),
    # kaldiio runs an scp or ark entry that ends in a pipe
    "kaldiio.load_scp": set(),
    "kaldiio.load_scp_sequential": set(),
    "kaldiio.load_mat": set(),
    "kaldiio.load_ark": set(),
    "kaldiio.ReadHelper": set(),
}
MODULES = {"pickle", "dill", "marshal", "shelve", "cloudpickle", "joblib"}
NAMES_FROM_MODULES = {"UnpicklingError"}  # to name the error, nothing is unpickled
METHODS = {"extractall", "allow_unsafe_deserialization"}


def faults(name, text):
    """Each forbidden thing of a file, as text."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import) and {alias.name.split(".")[0] for alias in node.names} & MODULES:
            yield f"line {node.lineno}: import {node.names[0].name}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            if not {alias.name for alias in node.names} <= NAMES_FROM_MODULES:
                yield f"line {node.lineno}: import from {node.module}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in CALLS and name not in CALLS[called]:
            yield f"line {node.lineno}: {called}"
        if called.rpartition(".")[2] in METHODS:
            yield f"line {node.lineno}: {called}"
        if called == "torch.load" and "weights_only=True" not in ast.unparse(node):
            yield f"line {node.lineno}: torch.load without weights_only=True"
        if re.match(r"Auto\w+\.from_", called) and "trust_remote_code" not in {keyword.arg for keyword in node.keywords}:
            yield f"line {node.lineno}: {called} without trust_remote_code"
        for keyword in node.keywords:
            value = ast.unparse(keyword.value)
            if keyword.arg == "shell" and value != "False" and name != PIPES:
                yield f"line {node.lineno}: a shell"
            if keyword.arg in ("allow_pickle", "trust_remote_code") and value != "False":
                yield f"line {node.lineno}: {keyword.arg}={value}"


@pytest.mark.parametrize("name", FILES)
def test_nothing_that_was_read_is_run(name):
    assert list(faults(name, (REPOSITORY / name).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import load",
        "eval(text)",
        "os.system(command)",
        "subprocess.run(command, shell=True)",
        "subprocess.run(command, shell=use_shell)",
        "numpy.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "load_hyperpyyaml(file)",
        "kaldiio.load_scp(path)",
        "tar.extractall(target)",
        "AutoModel.from_pretrained(name, trust_remote_code=options.trust)",
        "AutoTokenizer.from_pretrained(name)",
    ],
)
def test_the_check_finds_it(line):
    assert len(list(faults("comflp/new.py", line))) == 1
