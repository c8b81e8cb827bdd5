"""Options of every stage that runs a model over data without training it (stages 1 to 4 and 6), and what they mean."""

import contextlib
import shutil
from dataclasses import replace
from functools import partial

import option_types
from cli import parser, progress
from deep_model import DeepModel

from comflp.artifacts import fingerprint_model, require
from comflp.data import MAX_SECONDS
from comflp.data.data_dir import read_data_dir
from comflp.experiment import Layout, hypotheses_directory
from comflp.inference.speech import PRECISIONS, Speech
from comflp.locks import locked
from comflp.processes import ALONE
from comflp.record import Stage


def inference_parser(description):
    """cli.parser with the common options."""
    options = parser(description)
    options.add_argument("--max-seconds", type=option_types.seconds, default=MAX_SECONDS, help="padded seconds of audio in a batch")
    options.add_argument("--device", type=option_types.device, help="where the model runs: cpu, cuda, cuda:1, ...; a GPU if there is one")
    options.add_argument("--precision", choices=PRECISIONS, default="fp32",
                         help="what the model computes in: bf16 and fp16 are faster on GPUs, and results differ a little from fp32")
    options.add_argument("--allow-pipes", action="store_true", help="run the commands of wav.scp entries that are pipes")
    options.add_argument("--trust-hyperparams", action="store_true", help="allow a model's HyperPyYAML file, which can run code")
    return options


def load_model(path, options):
    """The model of a directory (or hub name), in evaluation mode on the device asked for."""
    # Stages 2 and 3 mostly need neither, and torch takes seconds to import.
    import comflp.models
    from comflp.inference.device import placed

    return placed(comflp.models.load(path, trust_hyperparams=options.trust_hyperparams), options.device)


def deep_model(options):
    """The deep model that --model names; the experiment's where it names none."""
    return DeepModel(options.model or Layout(options.exp).deep, partial(load_model, options=options), options.device)


def read_data(path, options, require_text=True):
    """A data directory, or an error that says which stage makes it."""
    return read_data_dir(require(path, "stage 0 (data preparation)"), require_text=require_text, allow_pipes=options.allow_pipes)


def how(options, ranks):
    """How every stage runs a model over data, as functions take it by keyword (comflp.inference.speech.How)."""
    return {
        "max_seconds": options.max_seconds, "ranks": ranks, "allow_pipes": options.allow_pipes, "precision": options.precision,
        "progress": progress,
    }


def recorded(options):
    """What a record says of how a model ran, by options or a Speech: whatever results depend on. Nothing of fp32, as in records made
    before there was a choice."""
    return {} if options.precision == "fp32" else {"precision": options.precision}


def hypotheses_of(directory, speech, load=None):
    """What the model of a directory recognises of ``speech``, from its hypotheses_<set>/, which is made where it is not there or of other data.

    load: gives that model, where ``speech`` has another one that was made from it. None for models that do not write
    token by token.
    """
    if not speech.model.teacher_forced:
        return None
    from comflp.inference.hypotheses import own_hypotheses, read_hypotheses, write_hypotheses

    out = hypotheses_directory(directory, speech.data.path.name)
    inputs = {"model": fingerprint_model(directory), "data": speech.data.fingerprint()}
    stage = Stage(out / "record.json", "own_hypotheses", recorded(speech), inputs)
    path, ranks = out / "hypotheses.json", speech.ranks
    if not ranks.decide(stage.is_current):
        with locked(out, wait=True) if ranks.is_main else contextlib.nullcontext():  # another run of the recipe may be at it
            if not ranks.decide(stage.is_current):
                speech = replace(speech, model=load() if load else speech.model, work=out / ".partial")
                found = own_hypotheses(speech)
                if ranks.is_main:
                    write_hypotheses(path, found, speech.model.most_tokens)
                    shutil.rmtree(speech.work, ignore_errors=True)
                    stage.finish([path], precision=speech.precision)
                    print(f"wrote {path}: {len(found)} hypotheses")
                ranks.barrier()
    return read_hypotheses(path)


def on_own_hypotheses(directory, speech):
    """``speech`` as measures run on it: with the hypotheses of its model; utterances on which these do not end are left out."""
    from comflp.inference import hypotheses

    return hypotheses.on_own_hypotheses(speech, hypotheses_of(directory, speech))


def speech_of(options, work, require_text=False, ranks=ALONE):
    """(fingerprints of --model and --data, a context that gives them as Speech and removes ``work`` when it ends well)."""
    data = read_data(options.data, options, require_text=require_text)
    inputs = {"model": fingerprint_model(require(options.model, "stage 0 (deep model)")), "probe": data.fingerprint()}

    @contextlib.contextmanager
    def speech():
        yield on_own_hypotheses(options.model, Speech(load_model(options.model, options), data, work=work, **how(options, ranks)))
        ranks.barrier()
        if ranks.is_main:
            shutil.rmtree(work, ignore_errors=True)

    return inputs, speech
