#!/usr/bin/env python3
"""Low rank against fewer layers at the same size: how fast the layers run, in one run on one machine.

    OMP_NUM_THREADS=1 python benchmarks/low_rank_speed.py

Random weights, which cost what trained ones do, at two widths: wav2vec2-base's, and the recipes'. Low rank puts two narrow maps in the
place of every linear map of a layer, of as many parameters together as half of it has; low_rank.py chooses ranks by what is lost, which
costs about the same. Least processor seconds of --rounds in which the models take turns, of the layers alone, without the front end.
"""

import argparse

import torch
from measuring import Stopwatch, table

WIDTHS = {"wav2vec2-base's sizes": (768, 12, 3072), "the recipes' sizes": (128, 4, 512)}
"""Name -> width, attention heads, width of the feed-forward."""


def narrow(linear, share):
    """The two maps in the place of one."""
    rank = max(round(share * linear.weight.numel() / sum(linear.weight.shape)), 1)
    return torch.nn.Sequential(torch.nn.Linear(linear.in_features, rank, bias=False), torch.nn.Linear(rank, linear.out_features))


def layers_of(width, heads, inner, depth, share=None):
    """``depth`` layers of transformers' wav2vec2; share: how much of its parameters every map keeps."""
    from transformers import Wav2Vec2Config
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2EncoderLayerStableLayerNorm

    config = Wav2Vec2Config(hidden_size=width, num_attention_heads=heads, intermediate_size=inner, attn_implementation="sdpa")
    stack = torch.nn.ModuleList(Wav2Vec2EncoderLayerStableLayerNorm(config) for _ in range(depth)).eval()
    maps = [(name, module) for name, module in stack.named_modules() if isinstance(module, torch.nn.Linear)]
    for name, module in maps if share is not None else ():
        stack.set_submodule(name, narrow(module, share))
    return stack


def seconds_of(stack, hidden):
    """Processor seconds of a pass through the layers."""
    watch = Stopwatch()
    with torch.inference_mode():
        for layer in stack:
            given = layer(hidden)
            hidden = given[0] if isinstance(given, tuple) else given  # which depends on the version of transformers
    return watch.read()["cpu_seconds"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--layers", type=int, default=12, help="layers of the deep model; the pruned one has half of them")
    arguments.add_argument("--frames", type=int, nargs="+", default=[50, 500], help="frames of the utterance (50 a second)")
    arguments.add_argument("--rounds", type=int, default=15, help="passes of each model")
    options = arguments.parse_args()
    rows = []
    for sizes, (width, heads, inner) in WIDTHS.items():
        models = {
            "deep": layers_of(width, heads, inner, options.layers), "half of the layers": layers_of(width, heads, inner, options.layers // 2),
            "all layers, low rank": layers_of(width, heads, inner, options.layers, share=0.5),
        }
        for frames in options.frames:
            hidden = torch.randn(1, frames, width, generator=torch.Generator().manual_seed(0))
            readings = {name: [] for name in models}
            for _ in range(options.rounds):
                for name, model in models.items():
                    readings[name].append(seconds_of(model, hidden))
            least = {name: min(found[1:]) for name, found in readings.items()}  # the first pass prepares
            rows += [{"sizes": sizes, "frames": frames, "model": name, "parameters, M": f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}",
                      "milliseconds": f"{1000 * least[name]:.1f}", "speed-up": f"{least['deep'] / least[name]:.2f}"} for name, model in models.items()]
    print(table(rows))


if __name__ == "__main__":
    main()
