"""Options of every stage that runs a model over data without training it (stages 1, 4 and 6), and what they mean."""

import torch
from cli import parser

import comflp.models
from comflp.artifacts import require
from comflp.data.data_dir import read_data_dir
from comflp.decode import MAX_SECONDS
from comflp.errors import ComflpError


def inference_parser(description):
    """cli.parser with the common options."""
    options = parser(description)
    options.add_argument("--max-seconds", type=float, default=MAX_SECONDS, help="padded seconds of audio in a batch")
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where the model runs")
    options.add_argument("--allow-pipes", action="store_true", help="run the commands of wav.scp entries that are pipes")
    options.add_argument("--trust-hyperparams", action="store_true", help="allow a model's HyperPyYAML file, which can run code")
    return options


def load_model(path, options):
    """The model of a directory (or hub name), in evaluation mode on the device asked for."""
    model = comflp.models.load(path, trust_hyperparams=options.trust_hyperparams)
    try:
        return model.to(options.device).eval()
    except (RuntimeError, AssertionError) as error:
        raise ComflpError(f"--device {options.device} cannot be used: {error}") from None


def read_data(path, options, made_by="stage 0 (data preparation)", require_text=True):
    """A data directory, or an error that says which stage makes it."""
    return read_data_dir(require(path, made_by), require_text=require_text, allow_pipes=options.allow_pipes)
