#!/usr/bin/env python3
"""Stage 6: decode data sets with models and score them.

Any model directory can be decoded with --models; --exp takes the deep model of
an experiment and every pruned, repaired and fine-tuned one made from it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import option_types
from cli import run, scoring_options
from inference_options import how, hypotheses_of, inference_parser, load_model, read_data, recorded

from comflp.artifacts import fingerprint_file, fingerprint_model, require
from comflp.data.data_dir import DataDir
from comflp.errors import ComflpError
from comflp.experiment import Layout, decode_directory
from comflp.inference.speech import How, Speech
from comflp.origins import refuse_other_origins
from comflp.processes import processes
from comflp.record import Stage
from comflp.scoring import check_references

if TYPE_CHECKING:  # torch takes seconds to import, and a stage that is done needs none of it; so below
    from comflp.inference.hypotheses import Tokens
    from comflp.models.layered import LayeredModel


def parse_options():
    arguments = inference_parser(__doc__)
    arguments.add_argument("--exp", type=option_types.path, help="experiment directory: decode its deep model and all that were made from it")
    arguments.add_argument("--models", default="", help="model directories to decode, separated by spaces")
    arguments.add_argument("--data", default="dev test",
                           help="Kaldi data directories, separated by spaces; a plain name is taken in data/")
    scoring_options(arguments, "error rate to report first")
    arguments.add_argument("--decoder", choices=("greedy", "beam"), default="greedy", help="CTC search")
    arguments.add_argument("--lm", type=option_types.path, help="KenLM file (arpa or binary) for the beam search")
    arguments.add_argument("--lm-weight", type=option_types.real(0, 100), default=0.5, help="weight of the language model")
    arguments.add_argument("--lm-unit", choices=("word", "char"), default="word",
                           help="its words are words, or single characters (languages written without spaces)")
    arguments.add_argument("--beam-size", type=option_types.candidates, default=20, help="hypotheses that the beam search keeps")
    arguments.add_argument("--tag", type=option_types.name, default="",
                           help="appended to the names of the results' directories, to keep several searches")
    arguments.add_argument("--worst", type=option_types.count, default=20, help="utterances in worst.txt")
    options = arguments.parse_args()
    if options.lm and options.decoder != "beam":
        raise ComflpError("--lm needs --decoder beam; greedy search uses no language model")
    if not options.exp and not options.models:
        raise ComflpError("say which models to decode: --exp DIR, or --models \"DIR DIR\"")
    return options


def main():
    options = parse_options()
    with processes() as ranks:
        decoding = Decoding(
            sets=read_sets(options.data.split(), partial(read_data, options=options)),
            search=Search.of(options),
            metric=options.metric,
            normaliser=options.normaliser,
            tag=options.tag,
            num_worst=options.worst,
            force=options.force,
            load=partial(load_model, options=options),
            deep_hypotheses=partial(deep_hypotheses, options=options, ranks=ranks),
            how=how(options, ranks),
            recorded=recorded(options),
        )
        for directory in ranks.decide(lambda: model_directories(options.models.split(), options.exp)):
            decoding.of_model(directory)


def read_sets(names: list[str], read: Callable[[Path], DataDir]) -> dict[str, DataDir]:
    """Name of a set -> its data. ``dev`` is data/dev; anything with a slash is a path."""
    sets = {}
    for text in names:
        path = Path(text) if "/" in text else Path("data") / text
        if path.name in sets:
            raise ComflpError(f"--data names two sets {path.name}; their results would share decode_{path.name}/")
        sets[path.name] = read(path)
    if not sets:
        raise ComflpError("--data is empty; name the sets to decode")
    return sets


def model_directories(models: list[str], exp: Path | None) -> list[Path]:
    """The model directories that are named, and those of an experiment, each once."""
    found = [require(directory, "stage 0 or 5") for directory in models]
    if exp:
        layout = Layout(exp)
        refuse_other_origins(layout)
        found.append(require(layout.deep, "stage 0 (deep model)"))
        found += [result.model(state) for result in layout.results() for state in result.states()]
    return list({path.resolve(): path for path in found}.values())


def deep_hypotheses(directory: Path, model: LayeredModel, data: DataDir, options, ranks) -> Tokens | None:
    """What the deep model of the experiment that a model's directory lies in recognises of a data set; made where it is not there.

    None of CTC models, and of a model that lies in no experiment. Whether --exp or --models named the directory makes no difference.
    """
    if (layout := Layout.around(directory)) is None:
        return None
    deep = layout.deep
    return hypotheses_of(deep, Speech(model, data, **how(options, ranks)), partial(load_model, deep, options))


@dataclass(frozen=True)
class Search:
    """How texts are found. described: what tells one search from another, for records and partial results."""

    beam_size: int | None
    lm: str | None
    lm_weight: float
    lm_unit: str

    @classmethod
    def of(cls, options) -> Search:
        """The search that the options ask for."""
        return cls(options.beam_size if options.decoder == "beam" else None, options.lm, options.lm_weight, options.lm_unit)

    @property
    def decoder(self) -> str:
        """``greedy`` or ``beam``."""
        return "greedy" if self.beam_size is None else "beam"

    def described(self) -> dict[str, Any]:
        """What tells this search from another, for records and partial results."""
        if self.beam_size is None:
            return {"decoder": "greedy"}
        lm = fingerprint_file(require(self.lm, "your language model's training")) if self.lm else None
        model = {"lm": lm, "lm_weight": self.lm_weight, "lm_unit": self.lm_unit} if lm else {"lm": None}
        return {"decoder": "beam", "beam_size": self.beam_size, **model}

    def for_model(self, model: LayeredModel) -> Callable | None:
        """The search with a model's tokenizer; None for the model's own, the greedy one."""
        if self.beam_size is None:
            return None
        from comflp.inference.beam_decode import BeamSearch

        return BeamSearch(model.tokenizer, self.beam_size, self.lm, self.lm_weight, self.lm_unit)


@dataclass(frozen=True)
class Decoding:
    """What is decoded of every model, and how.

    load: gives the model of a directory. deep_hypotheses: gives, for a directory, its model and a data set, what the deep model of its
    experiment recognises, at twice whose tokens searches are cut off; None for CTC models, and where it lies in none. how: the
    stage's, as decode takes it. recorded: what the record says of it.
    """

    sets: dict[str, DataDir]
    search: Search
    metric: str
    normaliser: str
    tag: str
    num_worst: int
    force: bool
    load: Callable[[Path], LayeredModel]
    deep_hypotheses: Callable[[Path, LayeredModel, DataDir], Tokens | None]
    how: How
    recorded: dict[str, Any]

    def of_model(self, directory: Path) -> None:
        """Decode every set with one model; the model is loaded only if something is to do."""
        fingerprint, described, model = fingerprint_model(directory), self.search.described(), None
        ranks = self.how["ranks"]
        for name, data in self.sets.items():
            out = decode_directory(directory, name, self.tag)
            stage = Stage(
                out / "record.json",
                "stage6_decode",
                options={"metric": self.metric, "normaliser": self.normaliser, "worst": self.num_worst, "search": described,
                         "speakers": data.speakers(), **self.recorded},
                inputs={"decoded model": fingerprint, "decoded data": data.fingerprint()},
                force=self.force,
                elsewhere="--tag of steps/stage6_decode.py, or experiment directory",
            )
            if ranks.decide(stage.up_to_date):
                if ranks.is_main:
                    print(f"{out} is up to date")
                continue
            from comflp.inference.decode import decode
            from comflp.inference.hypothesis_files import write_results

            model = model or self.load(directory)
            check_references({utterance.utt_id: utterance.text for utterance in data}, model.tokenizer, self.normaliser)
            work = out / ".partial"
            hypotheses = decode(model, data, self.search.for_model(model), described, work=work, **self.how,
                                hypotheses=self.deep_hypotheses(directory, model, data))
            if ranks.is_main:
                paths, score = write_results(
                    out, model, data, hypotheses, self.metric, self.search.decoder, self.num_worst, self.normaliser
                )
                shutil.rmtree(work)
                stage.finish(paths)
                capped = "" if not model.teacher_forced else f" ({score['capped_error_rate']:.2f}% with no utterance above 100%)"
                print(f"wrote {out}: {self.metric.upper()} {score['error_rate']:.2f}%{capped}, "
                      f"{len(data)} utterances, real-time factor {score['rtf']:.4f}")


run(main)
