"""comflp push against a small server in the place of the hub: one that takes what it is sent, and one that refuses."""

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from comflp.deploy.push import push
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


def test_a_model_and_its_card_arrive_and_what_stages_left_does_not(hub, make_model, tmp_path):
    make_model(3).save(tmp_path / "small")
    (tmp_path / "small" / "record.json").write_text("{}")
    (tmp_path / "small" / "decode_dev").mkdir()
    (tmp_path / "small" / "decode_dev" / "ref").write_text("a secret")
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
