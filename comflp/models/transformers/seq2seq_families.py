"""The encoder-decoder families of transformers, as data."""

from __future__ import annotations

from comflp.models.transformers.seq2seq import Seq2SeqFamily
from comflp.models.transformers.split import Family

SEQ2SEQ: dict[str, Seq2SeqFamily] = {
    "whisper": Seq2SeqFamily(
        encoder="model.encoder",
        family=Family(
            layers="layers", front=("conv1", "conv2"), tail=("layer_norm",),
            feature_extractor="WhisperFeatureExtractor", processor="WhisperProcessor",
        ),
        decoder="model.decoder",
        tail=("model.decoder.layer_norm",),
        head="proj_out",
        counts={"encoder": "encoder_layers", "decoder": "decoder_layers"},
        frames=lambda extractor, samples: -(-samples // (2 * extractor.hop_length)),
    ),
}
"""``model_type`` of config.json -> where the parts of a model of it are."""
