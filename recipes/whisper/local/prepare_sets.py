#!/usr/bin/env python3
"""Stage 0: telephone prompts, or data directories as they are, become data/train, data/dev and data/test.

Reads CORPUS/{train,dev,test}, Kaldi data directories, of which train needs no texts; or CORPUS/text, a line a prompt (<name>: <what is said>), and
CORPUS/<name>.wav. Of the prompts those are taken whose text can be trusted to be what is spoken, as far as the text itself
tells: --fewest-words or more, in one window of Whisper, no remarks in brackets, no letters spelt one by one, no characters that
were lost (a question mark inside a word). Prompts of the same text are in the same set.
"""

import re
from pathlib import Path

import numpy as np
import option_types
from cli import parser, run
from corpus import ELSEWHERE, data_files, describe, sources, up_to_date, with_durations

from comflp.artifacts import check_apart, fingerprint_value, read_text
from comflp.data.data_dir import DataDir, read_data_dir, write_data_dir
from comflp.data.tables import DataError
from comflp.errors import ComflpError
from comflp.record import Stage
from comflp.scoring import NORMALISERS, normalise

SETS = ("train", "dev", "test")
_DOUBTFUL = re.compile(r"""[]\[<>(){}*|/"]      # remarks, and alternatives
                           |\w\?\w|\w\?\ [a-zà-ÿ] # a lost character
                           |\b[A-Z]{2,}\b        # abbreviations
                           |\b[A-Z]\b(?!['’])    # a letter spelt""", re.VERBOSE)


def trusted(text, fewest_words):
    """Whether a text is likely to be what is said, and not shorter than it should be.

    >>> trusted("Prego riprovare ancora una volta.", 4), trusted("Digitare il tasto Q adesso.", 4), trusted("La chiamata non pu? essere", 4)
    (True, False, False)
    """
    return len(normalise(text, "basic").split()) >= fewest_words and _DOUBTFUL.search(text) is None


def read_prompts(corpus, language, fewest_words, normaliser):
    """[(utterance, path, text, speaker)] of the prompts that have a recording and a text that can be trusted."""
    found = {}
    for line in read_text(corpus / "text").splitlines():
        name, colon, text = line.partition(":")
        path, text = corpus / f"{name.strip()}.wav", " ".join(text.split())
        if not line.startswith(";") and colon and path.is_file() and trusted(text, fewest_words):
            found[f"{language}-{name.strip().replace('/', '-')}"] = path, normalise(text, normaliser)
    return [(utt_id, path, text, language) for utt_id, (path, text) in sorted(found.items())]


def drawn_sets(utterances, sizes, seed):
    """Set -> utterances, at least ``sizes`` of dev and test and the others for train; the same text is never in two."""
    groups = {}
    for utterance in utterances:
        groups.setdefault(normalise(utterance.text, "basic"), []).append(utterance)
    order = np.random.default_rng(seed).permutation(len(groups))
    texts, sets = sorted(groups), {name: [] for name in SETS}
    for index in order:
        name = next((one for one, size in sizes.items() if len(sets[one]) < size), "train")
        sets[name] += groups[texts[index]]
    if not sets["train"]:
        raise ComflpError(f"there are {len(utterances)} prompts, too few for {sizes}; ask for smaller sets")
    return sets


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--corpus", type=option_types.folder, required=True, help="folder of the prompts, or of data directories")
    options.add_argument("--data", type=option_types.new_path, default=Path("data"), help="gets a folder for each set")
    options.add_argument("--language", type=option_types.some_name, default="it", help="language of the prompts, for their names")
    options.add_argument("--num-dev", type=option_types.positive, default=20, help="prompts of data/dev")
    options.add_argument("--num-test", type=option_types.positive, default=40, help="prompts of data/test; the others are data/train")
    options.add_argument("--longest", type=option_types.seconds, default=30.0, help="seconds of the longest prompt that is taken")
    options.add_argument("--fewest-words", type=option_types.positive, default=4, help="words of the shortest prompt that is taken")
    options.add_argument("--normaliser", choices=NORMALISERS, default="none", help="what is done to the prompts' texts; basic for models of small letters")
    options.add_argument("--seed", type=option_types.seed, default=1, help="seed for the random draw of the sets")
    options.add_argument("--allow-pipes", action="store_true", help="accept shell commands in wav.scp of data directories; they will be run")
    args = options.parse_args()

    directories = [args.data / name for name in SETS]
    for name, directory in zip(SETS, directories):
        check_apart(directory, args.corpus / name)
    if (args.corpus / "text").is_file():
        prompts = read_prompts(args.corpus, args.language, args.fewest_words, args.normaliser)
        read = fingerprint_value([[utt_id, text] for utt_id, _, text, _ in prompts])
        made_of = dict.fromkeys(directories, sources(prompts))
        drawn = {"num_dev": args.num_dev, "num_test": args.num_test, "longest": args.longest, "seed": args.seed}
    elif missing := [name for name in SETS if not (args.corpus / name / "wav.scp").is_file()]:
        raise DataError(f"{args.corpus} has neither a file text, as the prompts have, nor the data directories {', '.join(missing)}")
    else:
        given = {name: read_data_dir(args.corpus / name, name != "train", args.allow_pipes) for name in SETS}
        read, drawn = fingerprint_value({name: data.fingerprint() for name, data in given.items()}), {}
        made_of = {directory: {one.utt_id: (one.wav, one.speaker) for one in given[name]} for name, directory in zip(SETS, directories)}
    stage = Stage(args.data / "prepare.record.json", "stage 0, prepare_sets", drawn, {"texts": read}, force=args.force, elsewhere=ELSEWHERE)
    if up_to_date(stage, made_of, args.allow_pipes):
        print(f"{args.data}/{{{','.join(SETS)}}} are up to date")
        return
    if drawn:
        utterances = [one for one in with_durations(prompts, "prompts") if one.duration <= args.longest]
        given = drawn_sets(utterances, {"dev": args.num_dev, "test": args.num_test}, args.seed)
    for name, directory in zip(SETS, directories):
        write_data_dir(directory, given[name], args.force)
        print(describe(DataDir(directory, list(given[name]))))
    stage.finish(data_files(*directories))
    print(f"wrote {args.data}/{{{','.join(SETS)}}}")


if __name__ == "__main__":
    run(main)
