#!/usr/bin/env python3
"""How much faster removing half of the encoder layers can make published models, by multiply-adds.

The models are built from their configurations on PyTorch's meta device: no weights, nothing computed, nothing downloaded.
"""

import argparse
import logging
import warnings

import torch
from transformers import ParakeetCTCConfig, ParakeetForCTC, Wav2Vec2Config, Wav2Vec2ForCTC

from comflp.inference.measure_costs import multiply_adds

SECONDS = 10
_LARGE = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, do_stable_layer_norm=True,
              feat_extract_norm="layer", conv_bias=True)
_XLS_R_1B = {**_LARGE, "hidden_size": 1280, "num_hidden_layers": 48, "intermediate_size": 5120}
MODELS = {
    "wav2vec2-base, hubert-base": (Wav2Vec2ForCTC, Wav2Vec2Config, {}),
    "wav2vec2-large, XLSR-53, XLS-R-300M": (Wav2Vec2ForCTC, Wav2Vec2Config, _LARGE),
    "MMS-1B, XLS-R-1B": (Wav2Vec2ForCTC, Wav2Vec2Config, _XLS_R_1B),
    "parakeet-ctc-0.6b": (ParakeetForCTC, ParakeetCTCConfig, {}),
}
"""Name -> (class of the model, of its configuration, what differs from the configuration's defaults)."""


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print("| model | layers | parameters | without half of the layers | multiply-adds a second | without half of the layers | at most |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, (model_class, config_class, differing) in MODELS.items():
        with torch.device("meta"), torch.no_grad():
            config = config_class(**differing)
            model = model_class(config).eval()
            encoder = getattr(model, "encoder", None) or model.wav2vec2.encoder
            whole = costs(model, config)
            depth = len(encoder.layers)
            encoder.layers = encoder.layers[: depth // 2]
            half = costs(model, config)
        print(f"| {name} | {depth} | {whole[0] / 1e6:.1f}M | {half[0] / 1e6:.1f}M | {whole[1] / 1e9:.2f}G | {half[1] / 1e9:.2f}G "
              f"| {whole[1] / half[1]:.2f} times |")


def costs(model, config):
    """(parameters, multiply-adds a second of audio)"""
    if isinstance(model, ParakeetForCTC):
        inputs = {"input_features": torch.empty(1, 100 * SECONDS, config.encoder_config.num_mel_bins)}
    else:
        inputs = {"input_values": torch.empty(1, 16000 * SECONDS)}
    _, counted = multiply_adds(lambda: model(**inputs))
    return sum(parameter.numel() for parameter in model.parameters()), counted / SECONDS


if __name__ == "__main__":
    main()
