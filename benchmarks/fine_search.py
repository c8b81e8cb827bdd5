#!/usr/bin/env python3
"""Fine search, GLP and the feature dump against doing the same one model at a time, in one run.

    python benchmarks/fine_search.py mini              the recipes' 12-layer model
    python benchmarks/fine_search.py wav2vec2          wav2vec2-base's sizes (12 layers of 768)

Weights are random and the audio is noise: neither changes how long a layer takes. Ten candidates remove 6 of 12 layers.
(a) decodes each as its own pruned model in batches of 32 in the order of the data, as the paper's released code does;
(b) is comflp.search.fine.ranking. The hypotheses of both must be the same. Seconds are of the processors.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from measuring import Stopwatch, machine, table

from comflp.inference import hidden_states
from comflp.data.data_dir import DataDir, Utterance
from comflp.inference.decode import decode_batches
from comflp.inference.device import evaluation
from comflp.inference.loop import load_batches, plan_batches
from comflp.search import coarse_search
from comflp.search.fine.ranking import fine_search
from comflp.search.baselines.greedy import glp

NUM_LAYERS, NUM_PRUNE, CHARACTERS = 12, 6, "abcdefghijklmnopqrstuvwxyz '"


def mini_model():
    """conf/deep.yaml's sizes, 16 kHz."""
    from comflp.models.own.tokenizer import SentencePieceTokenizer
    from comflp.models.own.transformer_ctc import Architecture, TransformerCTC

    return TransformerCTC(SentencePieceTokenizer.train([CHARACTERS]), Architecture(num_layers=NUM_LAYERS))


def wav2vec2_model():
    """wav2vec2-base's sizes; layer norm in the convolutions, so that padding can be masked and (a) equals (b)."""
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, Wav2Vec2Processor

    from comflp.models import load

    with tempfile.TemporaryDirectory() as folder:
        tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *CHARACTERS.replace(" ", "")]
        path = Path(folder) / "vocab.json"
        path.write_text("{" + ", ".join(f'"{token}": {label}' for label, token in enumerate(tokens)) + "}")
        tokenizer = Wav2Vec2CTCTokenizer(str(path))
    config = Wav2Vec2Config(vocab_size=len(tokens), num_hidden_layers=NUM_LAYERS, feat_extract_norm="layer", conv_bias=True)
    processor = Wav2Vec2Processor(Wav2Vec2FeatureExtractor(return_attention_mask=True), tokenizer)
    return load(Wav2Vec2ForCTC(config), processor=processor)


def make_data(folder, count, mean_seconds, rng):
    """Noise with lengths spread as AISHELL-1's are: a third to nearly three times the mean."""
    utterances = []
    for number in range(count):
        samples = int(16000 * mean_seconds * np.clip(rng.lognormal(-0.05, 0.33), 1 / 3, 8 / 3))
        path = Path(folder) / f"u{number:04d}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(samples), 16000)
        utterances.append(Utterance(path.stem, str(path), "reference", "s", samples / 16000))
    return DataDir(folder, utterances)


def make_candidates(rng):
    """The ten best of a matrix that falls with distance, as measured ones do, with some noise."""
    distance = np.abs(np.subtract.outer(np.arange(NUM_LAYERS + 1), np.arange(NUM_LAYERS + 1)))
    noise = rng.uniform(0, 0.02, distance.shape)
    return coarse_search(np.exp(-0.03 * distance) - (noise + noise.T) * (distance > 0), NUM_PRUNE)


def one_by_one(model, proposals, batches):
    """{proposal: {utterance: text}}, layer runs and front-end runs of decoding each as its own pruned model."""
    texts, layer_runs, frontend_runs = {}, 0, 0
    for proposal in proposals:
        pruned = model.prune(proposal)
        found = {}
        with evaluation(pruned):
            for batch in decode_batches(pruned, load_batches(pruned, batches)):
                found.update(zip((utterance.utt_id for utterance in batch.utterances), batch.texts))
        texts[proposal] = found
        layer_runs += len(batches) * len(proposal.kept)
        frontend_runs += len(batches)
    return texts, layer_runs, frontend_runs


def unsorted(data):
    """Batches of 32 in the order of the data."""
    return [data.utterances[start : start + 32] for start in range(0, len(data), 32)]


def row(what, seconds, batches, layer_runs, frontend_runs, against=None):
    return {
        "what": what, "seconds": f"{seconds:.1f}", "batches": batches, "layer runs": layer_runs, "front-end runs": frontend_runs,
        "layer runs a batch": f"{layer_runs / batches:.0f}", "ratio": "" if against is None else f"{seconds / against:.3f}",
    }


def compare_search(model, data, candidates):
    """(a) against (b)."""
    watch = Stopwatch()
    texts, layer_runs, frontend_runs = one_by_one(model, [c.proposal for c in candidates], unsorted(data))
    alone = watch.read()["cpu_seconds"]
    watch = Stopwatch()
    found = fine_search(model, candidates, data).evaluation
    shared = watch.read()["cpu_seconds"]
    different = sum(texts[p][u] != found.texts[p][u] for p in texts for u in texts[p])
    print(f"hypotheses that differ: {different} of {len(texts) * len(data)}; "
          f"{len(set(found.texts[candidates[0].proposal].values()))} different texts in the first candidate's {len(data)}")
    return [
        row("10 candidates, one by one", alone, len(unsorted(data)), layer_runs, frontend_runs),
        row("10 candidates, fine search", shared, found.num_batches, found.layer_runs, found.frontend_runs, alone),
    ]


def compare_glp(model, data):
    """GLP's own steps against each of its candidates as a pruned model, over the same batches."""
    watch = Stopwatch()
    steps = [step.evaluation for step in glp(model, NUM_PRUNE, data)]
    shared = watch.read()["cpu_seconds"]
    batches = plan_batches(model, data, 160.0)
    watch = Stopwatch()
    _, layer_runs, frontend_runs = one_by_one(model, [p for step in steps for p in step.texts], batches)
    alone = watch.read()["cpu_seconds"]
    return [
        row("GLP 12 to 6, one by one", alone, len(batches), layer_runs, frontend_runs),
        row("GLP 12 to 6, shared", shared, len(batches), sum(s.layer_runs for s in steps),
            sum(s.frontend_runs for s in steps), alone),
    ]


def compare_dump(model, data):
    """Stage 1 against nothing but the forward pass over the same batches, twice each, in turn."""
    batches, plain, dumped = plan_batches(model, data, 160.0), [], []
    for _ in range(2):
        watch = Stopwatch()
        with evaluation(model):
            for batch in load_batches(model, batches):
                model(batch)
        plain.append(watch.read()["cpu_seconds"])
        with tempfile.TemporaryDirectory() as folder:
            watch = Stopwatch()
            hidden_states.dump(model, data, folder)
            dumped.append(watch.read()["cpu_seconds"])
    runs = NUM_LAYERS * len(batches), len(batches)
    return [
        row("forward pass", min(plain), len(batches), *runs),
        row("stage 1", min(dumped), len(batches), *runs, min(plain)),
    ]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", choices=("mini", "wav2vec2"))
    arguments.add_argument("--num-utterances", type=int, help="number of utterances for fine search and stage 1 (mini 320, wav2vec2 64)")
    arguments.add_argument("--glp-utterances", type=int, help="number of utterances for GLP (mini 64, wav2vec2 8)")
    arguments.add_argument("--mean-seconds", type=float, default=4.5, help="length of the utterances, AISHELL-1's if left out")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    is_mini = options.model == "mini"
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    model = (mini_model() if is_mini else wav2vec2_model()).eval()
    candidates = make_candidates(rng)
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(folder, options.num_utterances or (320 if is_mini else 64), options.mean_seconds, rng)
        few = DataDir(folder, data.utterances[: options.glp_utterances or (64 if is_mini else 8)])
        print(f"{options.model}, {len(data)} utterances of {data.seconds / len(data):.1f} s (GLP: {len(few)}); {machine()}", flush=True)
        print(table(compare_search(model, data, candidates)) + "\n", flush=True)
        print(table(compare_dump(model, data)) + "\n", flush=True)
        print(table(compare_glp(model, few)), flush=True)


if __name__ == "__main__":
    main()
