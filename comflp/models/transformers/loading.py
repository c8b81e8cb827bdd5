"""Load a recogniser of transformers from a directory, the hub or memory, and refuse what would load wrongly."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
import transformers
from huggingface_hub import hf_hub_download
from transformers import (
    AutoModelForCTC,
    AutoModelForSpeechSeq2Seq,
    FeatureExtractionMixin,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
    WhisperFeatureExtractor,
)

from comflp.artifacts import read_json
from comflp.errors import ComflpError
from comflp.models.directory import SAMPLE_RATES, check_config
from comflp.models.layered import LayeredModel
from comflp.models.published import published, source_of
from comflp.models.transformers import head as normed_head
from comflp.models.transformers.directory import check_weights
from comflp.models.transformers.families import FAMILIES, TRANSDUCERS, Kind
from comflp.models.transformers.logging import one_line, quiet
from comflp.models.transformers.model import TransformersCTC
from comflp.models.transformers.saving import weight_type
from comflp.models.transformers.seq2seq import TransformersSeq2Seq
from comflp.models.transformers.seq2seq_families import SEQ2SEQ, Seq2SeqFamily
from comflp.models.transformers.split import Family
from comflp.models.transformers.tokenizer_files import load_tokenizer, with_own_settings
from comflp.models.transformers.transducer import TransformersTransducer
from comflp.models.verify import refuse_unless_equal_to_library

_KNOWN = (*FAMILIES, *TRANSDUCERS, *SEQ2SEQ)
"""The families that can be loaded, by their ``model_type``."""

_SPEC_AUGMENT = ("masked_spec_embed", "mask_time_emb_vector")
"""The vector that SpecAugment puts in place of frames, under its name of today and of 2021; recognition never reads it."""

_MAY_BE_LEFT_OVER = ("quantizer.", "project_q.", "project_hid.", *_SPEC_AUGMENT)
"""Weights of pre-training that fine-tuned checkpoints may still carry."""

_LANGUAGE_MODELS = ("granite_speech", "granite_speech_plus", "qwen3_asr", "voxtral", "voxtral_realtime")
"""Recognisers whose decoder is a language model."""

_WITH_LANGUAGE_MODEL = "Wav2Vec2ProcessorWithLM"


def load_transformers(name_or_dir: str | Path, model_type: str | None, wanted_language: str | None = None) -> LayeredModel:
    """The model and its processor, in evaluation mode, in float32; :func:`weight_type` is what it will be saved in.

    wanted_language: which language a multilingual encoder-decoder model is to recognise.

    No code comes with a model: trust_remote_code is off, and weights are read
    from safetensors or with torch.load(weights_only=True), which is what the
    library does by default. A directory whose vocabulary holds several
    languages (MMS) gives the model of its ``target_lang``, with that
    language's adapter. A directory has been through
    :func:`comflp.models.directory.check_directory`. Raises ComflpError for an
    unknown family, a directory without processor, and weights that do not fill
    the model or cannot be its own.
    """
    name = str(name_or_dir)
    family, auto_class = _family(name, model_type)
    config = read_json(Path(name) / "config.json" if Path(name).is_dir() else hf_hub_download(name, "config.json"))
    if Path(name).is_dir():
        check_weights(Path(name), auto_class)
    else:
        check_config(name, config)
    tokenizer, language = load_tokenizer(name)
    model = _load_model(name, auto_class)
    if language is not None:
        _load_language(model, name, language, len(tokenizer.encoder))
    parts = family.family(model.config) if isinstance(family, Kind) else family.family
    processor = getattr(transformers, parts.processor)(_load_extractor(parts, name), tokenizer, **parts.processor_options)
    _tell_of_a_language_model(name, processor)
    if tokenizer.chat_template is not None:  # a directory has one file of it for both
        processor.chat_template = tokenizer.chat_template
    made = _cut(model, processor, getattr(model.config, "comflp", None) or _origin(name), name, wanted_language)
    if not isinstance(model, normed_head.NormedHeadForCTC):  # whose library form has other numbers
        made.weight_type = weight_type(model, config, _SPEC_AUGMENT)
    return made


def layered(model: PreTrainedModel, processor: ProcessorMixin, language: str | None = None) -> LayeredModel:
    """A model and a processor in memory as a layered model.

    The model given is used itself: from here on it is in evaluation mode, with layerdrop off, with ``return_dict`` and the like of its
    configuration at their defaults, and with language and task in its generation settings. Give ``copy.deepcopy(model)`` to keep it as it was.
    Random noise of Whisper's feature extractor (``dither``) is set to none in the processor given.

    Raises ComflpError for an unknown family, and for weights in another type than float32.
    """
    if not isinstance(model, PreTrainedModel) or not all(hasattr(processor, part) for part in ("tokenizer", "feature_extractor")):
        raise ComflpError("what is given in memory is a model of transformers and its processor (of AutoProcessor, or of its own class as "
                          f"Wav2Vec2Processor), not a {type(model).__name__} and {'nothing' if processor is None else f'a {type(processor).__name__}'}; "
                          "take a model that torch.compile or DataParallel wraps out of them")
    name = model.config._name_or_path or f"the {type(model).__name__} given"
    processor = with_own_settings(processor, name)
    types = {parameter.dtype for parameter in model.parameters()}
    if types != {torch.float32}:
        raise ComflpError(f"{name} has weights in {', '.join(sorted(map(str, types)))}; call model.float() first")
    origin = getattr(model.config, "comflp", None) or {"source": source_of(name)}
    return _cut(model, processor, origin, name, language)


def _cut(
    model: PreTrainedModel, processor: ProcessorMixin, origin: dict, name: str, language: str | None
) -> LayeredModel:
    family, _ = _family(name, model.config.model_type)
    _leave_out_noise(processor.feature_extractor, name)
    for config in (model.config, *(part for part in vars(model.config).values() if isinstance(part, PreTrainedConfig))):
        config.return_dict, config.output_attentions, config.output_hidden_states = True, False, False  # what a caller wants back, and not the model
    if isinstance(family, Kind):
        made_as = TransformersTransducer if model.config.model_type in TRANSDUCERS else TransformersCTC
        made = made_as(model, family.split(model.base_model, family.family(model.config)), processor, origin)
    else:
        made = TransformersSeq2Seq(model, processor, family, origin, language)
    refuse_unless_equal_to_library(made.eval(), f"{name} (family {model.config.model_type})")
    return made


def _family(name: str, model_type: str | None) -> tuple[Kind | Seq2SeqFamily, type]:
    """How a family is cut, and the library's class that loads it."""
    if model_type in FAMILIES:
        return FAMILIES[model_type], AutoModelForCTC
    if model_type in TRANSDUCERS:
        return TRANSDUCERS[model_type], transformers.AutoModelForTDT if model_type.endswith("_tdt") else transformers.AutoModelForRNNT
    if model_type in SEQ2SEQ:
        return SEQ2SEQ[model_type], AutoModelForSpeechSeq2Seq
    if model_type in _LANGUAGE_MODELS:
        raise ComflpError(
            f"{name} is a {model_type!r} model, a language model that reads the output of an audio encoder; models with a CTC "
            f"head, transducers and encoder-decoder models can be loaded, of these families: {', '.join(_KNOWN)}"
        )
    if model_type is None:
        converted = " It looks like a model of CTranslate2 (faster-whisper); take the model of transformers that it was converted from." \
            if (Path(name) / "model.bin").is_file() else ""
        raise ComflpError(f"{name}: config.json has no model_type, so it is not of a model of transformers, of SpeechBrain or of comflp.{converted}")
    raise ComflpError(
        f"{name} is a {model_type!r} model; models of these families can be loaded: {', '.join(_KNOWN)}"
    )


def _origin(name: str) -> dict:
    """Name of a directory, or name and commit of a hub repository; and what its card says."""
    card = {"published": found} if (found := published(name)) else {}
    if Path(name).is_dir():
        return {"source": source_of(name), **card}
    snapshot = Path(hf_hub_download(name, "config.json")).parent
    return {"source": name, "revision": snapshot.name, **card}


def _load_model(name: str, auto_class: type) -> PreTrainedModel:
    model, report = _from_pretrained(auto_class, name)
    if normed_head.recognise(report["unexpected_keys"]):
        model, report = _from_pretrained(normed_head.NormedHeadForCTC, name)
    missing = [key for key in report["missing_keys"] if not key.endswith(_SPEC_AUGMENT)]
    left_over = [key for key in report["unexpected_keys"] if not any(part in key for part in _MAY_BE_LEFT_OVER)]
    for keys, fault in ((missing, "lacks"), (left_over, "has, besides what the model holds,")):
        if keys:
            shown = ", ".join(sorted(keys)[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            raise ComflpError(
                f"{name}: the checkpoint {fault} the weights {shown}, so it is not the model that its config.json "
                f"describes; {_cause(missing, left_over, auto_class)}"
            )
    return normed_head.from_library_form(model)


def _cause(missing: list[str], left_over: list[str], auto_class: type) -> str:
    """The likely reason of weights that are missing or too many: an adapter, a checkpoint of a training program, a prefix before every name, or no
    CTC head.
    """
    if any(".lora_" in key or ".base_layer." in key for key in left_over):
        return ("these are weights with an adapter of peft beside them; save the model with the adapter in it: "
                "model.merge_and_unload().save_pretrained(...)")
    if missing and left_over and not any("." in key for key in left_over):
        return (f"its file has the entries {', '.join(map(repr, sorted(left_over)[:5]))}, as the checkpoint of a training program has, with the weights "
                "inside one of them; write those alone: torch.save(checkpoint[...], 'pytorch_model.bin')")
    for key in left_over:
        for wanted in missing:
            prefix = key.removesuffix(wanted)
            if prefix != key and all(other.startswith(prefix) for other in left_over):
                return (
                    f"the names of its weights begin with {prefix!r}, as those of a model saved from inside a wrapper "
                    f"(DataParallel, torch.compile) do; save the model that is inside, or take the prefix off"
                )
    if auto_class is not AutoModelForCTC:
        return "use the config.json and the weights of one model"
    return "a pre-trained model needs to be fine-tuned for CTC first"


def _from_pretrained(model_class: type, name: str) -> tuple[PreTrainedModel, dict]:
    try:
        with quiet(), torch.random.fork_rng(devices=[]):  # the library draws weights before it reads them
            return model_class.from_pretrained(
                name, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
            )
    except Exception as error:  # a missing package, an unknown activation, damaged weights: the library raises anything
        raise ComflpError(f"{name} cannot be loaded as a recogniser: {one_line(error)}") from error


def _load_language(model: PreTrainedModel, name: str, language: str, num_tokens: int) -> None:
    """Give the model the adapter and head of a language, as ``from_pretrained(name, target_lang=language)`` does.

    Without an adapter of its own in the directory only ``eng`` is taken to be what the weights hold, as the library has it.
    """
    fault = None
    if getattr(model.config, "adapter_attn_dim", None) is None or not hasattr(model, "init_adapter_layers"):
        fault = "the model has no adapters"
    else:
        try:
            with quiet(), torch.random.fork_rng(devices=[]):
                model.load_adapter(language, force_load=True)
        except OSError as error:
            if language != "eng" or model.config.vocab_size != num_tokens:
                fault = one_line(error)
        except Exception as error:  # damaged or foreign weights
            fault = one_line(error)
    if fault:
        raise ComflpError(
            f"{name}: tokenizer_config.json asks for the language {language!r} (target_lang), and its weights cannot be "
            f"had ({fault}); put adapter.{language}.safetensors beside the model's weights, or ask for another language"
        )


def _load_extractor(family: Family, name: str) -> FeatureExtractionMixin:
    wanted = getattr(transformers, family.feature_extractor)
    try:
        with quiet():
            extractor = wanted.from_pretrained(name)
    except Exception as error:  # the library checks few of the settings
        raise ComflpError(
            f"{name} has no {wanted.__name__} that can be loaded ({one_line(error)}); a model directory needs "
            f"preprocessor_config.json beside its weights"
        ) from error
    rate = extractor.sampling_rate
    if isinstance(rate, bool) or not isinstance(rate, int) or rate not in SAMPLE_RATES:
        raise ComflpError(f"{name}: sampling_rate in preprocessor_config.json is {rate!r}, which is no sample rate in Hz")
    return extractor


def _leave_out_noise(extractor: FeatureExtractionMixin, name: str) -> None:
    """Set the random noise that Whisper's extractor can add to every waveform to none, with a warning: features would differ from call to call."""
    if isinstance(extractor, WhisperFeatureExtractor) and extractor.dither:
        warnings.warn(f"the feature extractor of {name} adds random noise to what it reads (dither {extractor.dither:g} in "
                      "preprocessor_config.json), so that no result could be had twice; it is left out, here and in what is saved", stacklevel=4)
        extractor.dither = 0.0


def _tell_of_a_language_model(name: str, processor: ProcessorMixin) -> None:
    """Warn where the directory asks for the processor that searches with a language model: what is loaded has none."""
    settings, _ = processor.feature_extractor.get_feature_extractor_dict(name)
    if _WITH_LANGUAGE_MODEL in (settings.get("processor_class"), processor.tokenizer.init_kwargs.get("processor_class")):
        warnings.warn(f"the language model of {name} is left out: texts and error rates are those of greedy search without it, and what "
                      "is saved has none", stacklevel=3)
