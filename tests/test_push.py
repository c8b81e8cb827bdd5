"""comflp push against a small server in the place of the hub: one that takes what it is sent, and one that refuses."""

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import filter_repo_objects

from comflp.artifacts import atomic_directory
from comflp.deploy.push import _names, push
from comflp.errors import ComflpError

TOKEN = "hf_" + "x" * 34


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's interface as an upload of small files takes; ``server.got`` is what arrived."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid credentials in Authorization header"})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            if asked.get("organization") == "others":
                return self.answer(403, {"error": "You don't have the rights to create a model under this namespace"})
            self.server.got["created"] = asked
            return self.answer(200, {"url": f"http://{self.headers['Host']}/me/{asked['name']}"})
        if self.path == "/api/validate-yaml":
            self.server.got["card"] = json.loads(body)["content"]
            if "license: no such" in self.server.got["card"]:
                return self.answer(400, {"error": "Invalid metadata", "errors": [{"message": '"license" must be one of apache-2.0, mit'}], "warnings": []})
            return self.answer(200, {"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            return self.answer(200, {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        if "/commit/" in self.path:
            entries = [json.loads(line)["value"] for line in body.splitlines() if json.loads(line)["key"] == "file"]
            self.server.got["files"] = {entry["path"]: base64.b64decode(entry["content"]) for entry in entries}
            return self.answer(200, {"commitUrl": f"http://{self.headers['Host']}/me/small/commit/0", "commitOid": "0" * 40})
        return self.answer(404, {"error": f"no such address: {self.path}"})

    def answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status >= 400:
            self.send_header("X-Error-Message", content["error"])
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.got = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def pushed(directory, name, port, token=TOKEN):
    """The command in a process of its own, as the address of the hub is read when its library is imported."""
    environment = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_TOKEN": token, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-m", "comflp", "push", str(directory), name]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("marked", [True, False])
def test_a_model_and_its_card_arrive_and_what_stages_left_does_not(hub, make_model, tmp_path, marked):
    make_model(3).save(tmp_path / "small")
    (tmp_path / "small" / "record.json").write_text("{}")
    for name in ("pruning.json", "costs.json", "decode_dev/ref", "scores/hyp", "exported/torch_int8/model.safetensors", "exported/torch_int8/hyp"):
        (tmp_path / "small" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "small" / name).write_text("a secret")
    if not marked:
        (tmp_path / "small" / ".comflp.json").unlink()
    done = pushed(tmp_path / "small", "small", hub.server_port)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{tmp_path / 'small'} is at http://127.0.0.1:{hub.server_port}/me/small"
    assert set(hub.got["files"]) == {"README.md", "config.json", "model.safetensors", "tokenizer.model"}
    assert hub.got["files"]["model.safetensors"] == (tmp_path / "small" / "model.safetensors").read_bytes()
    assert "pipeline_tag: automatic-speech-recognition" in hub.got["card"]


@pytest.mark.parametrize(("name", "token", "message"), [
    ("others/small", TOKEN, "refuses others/small"), ("small", "hf_" + "y" * 34, "refuses small"),
])
def test_a_hub_that_refuses_is_one_line(hub, make_model, tmp_path, name, token, message):
    make_model(3).save(tmp_path / "small")
    done = pushed(tmp_path / "small", name, hub.server_port, token)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr and "files" not in hub.got


def test_a_folder_that_was_written_with_the_model_arrives(make_model, tmp_path):
    with atomic_directory(tmp_path / "small") as temporary:
        make_model(3).save(temporary)
        (temporary / "costs.json").write_text("{}")
        (temporary / "wav2vec2").mkdir()
        (temporary / "wav2vec2" / "config [1].json").write_text("{}")
    (tmp_path / "small" / "scores").mkdir()
    (tmp_path / "small" / "scores" / "hyp").write_text("a secret")
    sent = filter_repo_objects(sorted(str(path.relative_to(tmp_path / "small")) for path in (tmp_path / "small").rglob("*") if path.is_file()),
                               allow_patterns=_names(tmp_path / "small"))
    assert list(sent) == ["README.md", "config.json", "model.safetensors", "tokenizer.model", "wav2vec2/config [1].json"]


def test_a_card_that_the_hub_does_not_take_is_one_line(hub, make_model, tmp_path):
    make_model(3).save(tmp_path / "small")
    card = tmp_path / "small" / "README.md"
    card.write_text(card.read_text().replace("---\n", "---\nlicense: no such\n", 1))
    done = pushed(tmp_path / "small", "small", hub.server_port)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "files" not in hub.got
    assert f"does not take {tmp_path / 'small'}: " in done.stderr and '"license" must be one of' in done.stderr


def test_an_upload_that_breaks_off_is_one_line(make_model, tmp_path, monkeypatch):
    def breaks_off(*_, **__):
        raise RuntimeError("Data processing error: CAS service error\n  caused by: connection reset")

    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: SimpleNamespace(repo_id="me/small"))
    monkeypatch.setattr(HfApi, "upload_folder", breaks_off)
    make_model(3).save(tmp_path / "small")
    with pytest.raises(ComflpError, match="the upload of .*small to me/small failed: Data processing error: CAS service error caused by"):
        push(tmp_path / "small", "me/small")


def test_a_hub_that_is_not_there(make_model, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        make_model(3).save(tmp_path / "small")
        done = pushed(tmp_path / "small", "me/small", unused.getsockname()[1])
    assert done.returncode == 1 and "cannot be reached" in done.stderr and "Traceback" not in done.stderr


def test_what_is_no_model_and_no_name(make_model, tmp_path):
    with pytest.raises(ComflpError, match="no model directory with a card"):
        push(tmp_path, "me/small")
    make_model(3).save(tmp_path / "small")
    with pytest.raises(ComflpError, match="no name of a repository"):
        push(tmp_path / "small", "../small")
