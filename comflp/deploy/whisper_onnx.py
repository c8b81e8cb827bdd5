"""Encoder-decoder models such as Whisper as ONNX, in the layouts of transformers.js and onnx-asr, and of sherpa-onnx.

* ``onnx``: ``onnx/encoder_model.onnx`` and ``onnx/decoder_model_merged.onnx`` (one graph that makes the first tokens or, with
  ``use_cache_branch``, one more), beside the configuration and tokenizer of transformers.
* ``sherpa-onnx``: ``encoder.onnx``, ``decoder.onnx``, ``tokens.txt``, and what the runtime asks for as metadata of the encoder.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import torch
from transformers.convert_slow_tokenizer import bytes_to_unicode

from comflp.artifacts import atomic_directory, write_json, write_text
from comflp.deploy.description import DESCRIPTION, describe
from comflp.deploy.formats import Format
from comflp.deploy.graph_edits import merge_branches, set_metadata
from comflp.deploy.onnx_files import ANY, export_graph, refuse_unless_same
from comflp.deploy.whisper_graphs import Encoder, FirstTokens, NextToken, SherpaDecoder, SherpaEncoder
from comflp.models.transformers.logging import quiet
from comflp.models.transformers.seq2seq import TransformersSeq2Seq

_TOKENS = 4
_PAST = 5


def write_whisper(model: TransformersSeq2Seq, directory: Path, form: Format, force: bool = False) -> None:
    """Write the float32 form for onnxruntime or sherpa-onnx; its graphs are compared with the model on noise.

    force: as :func:`comflp.artifacts.atomic_directory` takes it.
    Raises ComflpError where PyTorch cannot turn the model into a graph, or the graph does not compute the same.
    """
    with atomic_directory(directory, force=force) as temporary:
        if form.runtime == "sherpa-onnx":
            _sherpa(model, temporary)
        else:
            _transformers(model, temporary)
        write_json(temporary / DESCRIPTION, describe(model, form.name, reads="a window", language=model.language or "en", task=model.task,
                                                     sherpa_type="whisper"))


def _transformers(model: TransformersSeq2Seq, directory: Path) -> None:
    config, graphs = model.model.config, directory / "onnx"
    graphs.mkdir()
    features, states, tokens = _examples(model)
    _export(model, Encoder(model), (features,), {"input_features": {0: ANY}}, graphs / "encoder_model.onnx",
            ["input_features"], ["last_hidden_state"])
    names = [f"{layer}.{stack}.{part}" for layer in range(config.decoder_layers) for stack in ("decoder", "encoder") for part in ("key", "value")]
    first = graphs / "decoder_model.onnx"
    _export(model, FirstTokens(model), (tokens, states), {"input_ids": {0: ANY, 1: ANY}, "encoder_hidden_states": {0: ANY}}, first,
            ["input_ids", "encoder_hidden_states"], ["logits", *(f"present.{name}" for name in names)])
    heads = config.decoder_attention_heads
    sizes = {"decoder": _PAST, "encoder": states.shape[1]}
    past = [torch.randn(2, heads, sizes[name.split(".")[1]], config.d_model // heads) for name in names]
    axes = [{0: ANY, 2: ANY} if ".decoder." in name else {0: ANY} for name in names]
    following = graphs / "decoder_with_past_model.onnx"
    _export(model, NextToken(model), (tokens[:, :1], past), {"input_ids": {0: ANY}, "past": axes}, following,
            ["input_ids", *(f"past_key_values.{name}" for name in names)],
            ["logits", *(f"present.{name}" for name in names if ".decoder." in name)])
    merge_branches(first, following, graphs / "decoder_model_merged.onnx")
    for path in (first, following):
        path.unlink()
    with quiet():
        config.save_pretrained(directory)
        model.model.generation_config.save_pretrained(directory)
        model.processor.save_pretrained(directory)
        model.processor.feature_extractor.save_pretrained(directory)
    added = model.processor.tokenizer.get_added_vocab()
    write_json(directory / "added_tokens.json", added)
    write_json(directory / "vocab.json", _base_vocabulary(model))


def _sherpa(model: TransformersSeq2Seq, directory: Path) -> None:
    config = model.model.config
    features, states, tokens = (example[:1] for example in _examples(model))
    encoder, decoder = directory / "encoder.onnx", directory / "decoder.onnx"
    _export(model, SherpaEncoder(model), (features[:, :, : 3 * features.shape[2] // 4],), {"mel": {2: ANY}}, encoder,
            ["mel"], ["n_layer_cross_k", "n_layer_cross_v"])
    own = torch.zeros(config.decoder_layers, 1, config.max_target_positions, config.d_model)
    crossed = torch.randn(config.decoder_layers, 1, states.shape[1], config.d_model)
    _export(model, SherpaDecoder(model), (tokens, own, own.clone(), crossed, crossed.clone(), torch.tensor([0])),
            ({1: ANY}, None, None, None, None, None), decoder,
            ["tokens", "in_n_layer_self_k_cache", "in_n_layer_self_v_cache", "n_layer_cross_k", "n_layer_cross_v", "offset"],
            ["logits", "out_n_layer_self_k_cache", "out_n_layer_self_v_cache"])
    set_metadata(encoder, _sherpa_metadata(model))
    letters = {text: byte for byte, text in bytes_to_unicode().items()}
    lines = [f"{base64.b64encode(bytes(letters[letter] for letter in token)).decode()} {label}\n"
             for token, label in sorted(_base_vocabulary(model).items(), key=lambda entry: entry[1])
             if token and all(letter in letters for letter in token)]
    write_text(directory / "tokens.txt", "".join(lines))


def _sherpa_metadata(model: TransformersSeq2Seq) -> dict[str, Any]:
    """What sherpa-onnx asks of a Whisper model."""
    config, generation, tokenizer = model.model.config, model.model.generation_config, model.processor.tokenizer
    known = getattr(generation, "lang_to_id", None) or {}
    number = tokenizer.convert_tokens_to_ids
    return {
        "model_type": "whisper", "n_mels": config.num_mel_bins, "n_text_layer": config.decoder_layers,
        "n_text_ctx": config.max_target_positions, "n_text_state": config.d_model, "n_vocab": config.vocab_size,
        "sot": model.tokenizer.prompt[0], "eot": model.tokenizer.end, "blank_id": _base_vocabulary(model).get("\u0120", 0),
        "translate": number("<|translate|>"), "transcribe": number("<|transcribe|>"), "is_multilingual": int(bool(known)),
        "no_timestamps": model.tokenizer.prompt[-1], "no_speech": number("<|nospeech|>") or 0,
        "sot_sequence": ",".join(map(str, model.tokenizer.prompt[:-1])),
        "all_language_tokens": ",".join(map(str, known.values())),
        "all_language_codes": ",".join(token.strip("<|>") for token in known),
    }


def _base_vocabulary(model: TransformersSeq2Seq) -> dict[str, int]:
    """Token -> number, of those that spell text."""
    tokenizer = model.processor.tokenizer
    added = tokenizer.get_added_vocab()
    return {token: label for token, label in tokenizer.get_vocab().items() if token not in added}


def _examples(model: TransformersSeq2Seq) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (2, bins, frames), encoder states (2, T, D) and tokens (2, n) to trace with."""
    config, generator = model.model.config, torch.Generator().manual_seed(0)
    features = torch.randn(2, config.num_mel_bins, 2 * config.max_source_positions, generator=generator)
    states = torch.randn(2, config.max_source_positions, config.d_model, generator=generator)
    return features, states, torch.randint(0, config.vocab_size, (2, _TOKENS), generator=generator)


def _export(
    model: TransformersSeq2Seq, module: torch.nn.Module, example: tuple, dynamic: Any, path: Path, inputs: list[str], outputs: list[str]
) -> None:
    """Export a graph, and compare its first output with the module's on the example."""
    export_graph(model.family, module, example, dynamic, path, inputs, outputs)
    with torch.no_grad():
        expected = module(*example)
    first = expected[0] if isinstance(expected, tuple) else expected
    given = [tensor for value in example for tensor in (value if isinstance(value, list) else [value])]
    refuse_unless_same(model.family, path, dict(zip(inputs, given)), first, [first.shape[1]] * len(first))
