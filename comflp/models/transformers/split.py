"""An encoder of transformers cut at its layers: what comes before them, each layer, what comes after them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Iterator, Mapping, Sequence

import torch
from transformers import PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask

from comflp.data.batching import own_frames
from comflp.errors import ComflpError
from comflp.models.layered import Stack, State
from comflp.models.transformers.catching import Caught, catch, without_random_skipping


@dataclass(frozen=True)
class Family:
    """What one family of CTC models is, as data. Paths of modules start from the model without its CTC head.

    layers: the ModuleList of encoder layers.
    front: modules whose weights belong to the front end. convolutions: those of them that training may freeze.
    tail: modules that turn H_L into what the head reads, one after another; those that a model lacks are skipped.
    head: modules of the CTC model that turn that into logits.
    front_reads_padding: whether padding beside an utterance changes its own frames in the front end (a norm over the
        padded length, a convolution over padding that is not zero). tail_reads_padding: the same of the tail. Such
        parts run utterance by utterance, the layers on the padded batch.
    unmasked_convolution: a convolution over time inside each layer to which the library gives padding as it is;
        here it gets zeros there, which is what it sees at the end of an utterance alone.
    feature_frames: (feature extractor, samples (B,)) -> frames (B,) of the features that the model reads; None for a
        model that reads waveforms.
    feature_extractor, processor: names of the library's classes. processor_options: what the processor is made with besides.
    """

    layers: str = "encoder.layers"
    front: tuple[str, ...] = ()
    convolutions: str | None = None
    tail: tuple[str, ...] = ()
    head: tuple[str, ...] = ("dropout", "lm_head")
    front_reads_padding: bool = False
    tail_reads_padding: bool = False
    unmasked_convolution: str | None = None
    feature_frames: Callable[[Any, torch.Tensor], torch.Tensor] | None = None
    feature_extractor: str = "Wav2Vec2FeatureExtractor"
    processor: str = "Wav2Vec2Processor"
    processor_options: Mapping[str, str] = field(default_factory=dict)


class Split:
    """An encoder cut at its layers.

    base: the library's model without its CTC head. family: where its parts are. Odd families override a method.
    """

    def __init__(self, base: PreTrainedModel, family: Family):
        self.base = base
        self.family = family
        for name in ("", "adapter", self._owner_path):
            part = module_at(base, name)
            if hasattr(part, "layerdrop"):
                part.layerdrop = 0.0  # layers are dropped by LayeredModel.forward, with a generator of its own

    @property
    def _owner_path(self) -> str:
        return self.family.layers.rpartition(".")[0]

    @property
    def owner(self) -> torch.nn.Module:
        """The module that holds the layers."""
        return module_at(self.base, self._owner_path)

    @property
    def stack(self) -> Stack:
        """The layers."""
        return Stack("encoder", module_at(self.base, self.family.layers), self.must_stay())

    def must_stay(self) -> Mapping[int, str]:
        """Layer number -> why it cannot be removed."""
        return {}

    def steps(self, kept: Sequence[int]) -> list[int]:
        """The steps (layers, and what a family has between them) of an encoder of which the layers ``kept`` stay."""
        return list(kept)

    def convolved_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        """(B,) int64 frames that the convolutions over (B,) ``lengths`` of input make."""
        config = self.base.config
        if hasattr(config, "conv_kernel"):
            for kernel, stride in zip(config.conv_kernel, config.conv_stride):
                lengths = (lengths - kernel) // stride + 1
        elif hasattr(self.base, "_get_subsampling_output_length"):
            lengths = self.base._get_subsampling_output_length(lengths).long()
        return lengths

    def layer_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        """(B,) int64 frames of H_0 for inputs of ``lengths``; below 1 where an utterance is too short for the model."""
        return self.convolved_frames(lengths)

    def logit_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        """(B,) int64 frames of the logits: those of H_0, less what an adapter's convolutions take."""
        frames, adapter = self.layer_frames(lengths), getattr(self.base, "adapter", None)
        for layer in [] if adapter is None else adapter.layers:
            convolution = layer.conv if hasattr(layer, "conv") else layer.residual_conv
            frames = (frames + 2 * convolution.padding[0] - convolution.kernel_size[0]) // convolution.stride[0] + 1
        return frames

    def begin(self, inputs: Mapping[str, torch.Tensor], lengths: torch.Tensor, alone: torch.Tensor) -> State:
        """H_0 of a batch, as each utterance has it alone.

        inputs: the library's arguments, padded over the batch, without masks. lengths: (B,) how much of each is the
        utterance's own, in the unit of the inputs. alone: (B,) how long its inputs are when it is alone, more than
        its own where the feature extractor pads to a multiple of frames.
        """
        num_frames = self.layer_frames(lengths)
        length = next(iter(inputs.values())).shape[1]
        one_waveform = len(lengths) == 1 and self.family.feature_frames is None
        if one_waveform or bool((lengths == length).all()):  # no value decides, so that the pass can be exported
            caught = self._catch(inputs)
            return self._state(caught.hidden, lengths, alone, caught, None)
        if self.family.front_reads_padding:
            singles = [self._catch({name: value[i : i + 1, :own] for name, value in inputs.items()})
                       for i, own in enumerate(lengths.tolist())]
            longest = singles[int(num_frames.argmax())]
            hidden = torch.nn.utils.rnn.pad_sequence([caught.hidden[0] for caught in singles], batch_first=True)
            own = own_frames(num_frames, hidden.shape[1])
            return self._state(hidden, lengths, alone, self.batched(longest, hidden, own), own)
        caught = self._catch({**inputs, "attention_mask": own_frames(lengths, length).long()})
        return self._state(caught.hidden, lengths, alone, caught, own_frames(num_frames, caught.hidden.shape[1]))

    def asked(self, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The library's arguments for whole utterances of one length, as its processor makes them of ``inputs``."""
        return inputs

    def _catch(self, inputs: Mapping[str, torch.Tensor]) -> Caught:
        configurations = {id(c): c for c in (self.base.config, getattr(self.owner, "config", None)) if c is not None}
        with without_random_skipping(*configurations.values()):
            return catch(lambda: self.base(**self.asked(inputs)), self.owner, self.family.layers.rpartition(".")[2])

    def _state(
        self, hidden: torch.Tensor, lengths: torch.Tensor, alone: torch.Tensor, caught: Caught, own: torch.Tensor | None
    ) -> State:
        args, kwargs = self.arguments(caught, hidden)
        context = {"args": args, "kwargs": kwargs, "own": own, "logit_frames": self.logit_frames(lengths),
                   "alone": self.layer_frames(alone)}
        return State(hidden, self.layer_frames(lengths), context)

    def batched(self, caught: Caught, hidden: torch.Tensor, own: torch.Tensor) -> Caught:
        """What layer 1 of the longest utterance alone was given, for the padded batch: with a mask of own frames (B, T)."""
        return caught._replace(kwargs={**caught.kwargs, "attention_mask": self.attention_mask(hidden, own)})

    def attention_mask(self, hidden: torch.Tensor, own: torch.Tensor) -> Any:
        """The mask in the form that the layers take."""
        return create_bidirectional_mask(config=self.owner.config, inputs_embeds=hidden, attention_mask=own)

    def arguments(self, caught: Caught, hidden: torch.Tensor) -> tuple[tuple, dict[str, Any]]:
        """What every layer is given beside the hidden states, from what layer 1 was given."""
        return caught.args, caught.kwargs

    def run(self, state: State, layer: int) -> State:
        """H_{layer-1} to H_layer."""
        module = self.stack.layers[layer - 1]
        with self._silent_padding(module, state.context["own"]):
            hidden = module(state.hidden, *state.context["args"], **state.context["kwargs"])
        return state.with_hidden(hidden[0] if isinstance(hidden, tuple) else hidden)

    @contextlib.contextmanager
    def _silent_padding(self, module: torch.nn.Module, own: torch.Tensor | None) -> Iterator[None]:
        """Zeros in the padding of what the layer's convolution over time reads, (B, C, T)."""
        if self.family.unmasked_convolution is None or own is None:
            yield
            return
        convolution = module_at(module, self.family.unmasked_convolution)
        hook = convolution.register_forward_pre_hook(lambda _, args: (args[0].masked_fill(~own[:, None], 0.0), *args[1:]))
        try:
            yield
        finally:
            hook.remove()

    def finish(self, state: State, head: Callable[[torch.Tensor, State], torch.Tensor]) -> torch.Tensor:
        """``head`` of what the tail makes of H_L: (B, T', ...), as each utterance has it alone."""
        if state.context["own"] is None or not self.family.tail_reads_padding:
            return head(self.tail(state), state)
        rows = []
        for i, length in enumerate(state.context["alone"].tolist()):
            alone = replace(state, hidden=state.hidden[i : i + 1, :length], num_frames=state.num_frames[i : i + 1],
                            context={**state.context, "own": state.context["own"][i : i + 1, :length], "row": i})
            rows.append(head(self.tail(alone), alone)[0])
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def tail(self, state: State) -> torch.Tensor:
        """What the head reads, (B, T', D'), from H_L."""
        hidden = state.hidden
        for path in self.family.tail:
            module = module_at(self.base, path)
            hidden = hidden if module is None else module(hidden)
        return hidden

    def freeze_convolutions(self) -> None:
        """Take the convolutions over the waveform or the features out of training."""
        convolutions = module_at(self.base, self.family.convolutions or "-")
        if convolutions is None:
            raise ComflpError("this model has no convolutional feature encoder to freeze; leave the option off")
        if hasattr(convolutions, "_freeze_parameters"):
            convolutions._freeze_parameters()  # besides, the library no longer makes its input require gradients
        convolutions.requires_grad_(False)

    def keep_layers(self, kept: Sequence[int]) -> None:
        """Shorten the encoder to the layers ``kept``, numbers and configuration included."""
        attribute = self.family.layers.rpartition(".")[2]
        modules = getattr(self.owner, attribute)
        setattr(self.owner, attribute, numbered([modules[layer - 1] for layer in kept]))
        for config in self.counting_configurations():
            config.num_hidden_layers = len(kept)

    def counting_configurations(self) -> list[Any]:
        """The configurations that say how many layers there are."""
        owners = getattr(self.owner, "config", self.base.config)
        return [owners, getattr(self.base.config, "encoder_config", self.base.config)]


def module_at(root: torch.nn.Module, path: str) -> torch.nn.Module | None:
    """The module at a dotted path, None where there is none."""
    for name in filter(None, path.split(".")):
        root = getattr(root, name, None)
        if root is None:
            return None
    return root


def numbered(layers: Sequence[torch.nn.Module]) -> torch.nn.ModuleList:
    """Layers in a row, their modules numbered anew: by these numbers a decoder's attention finds its keys and values in the cache."""
    for index, layer in enumerate(layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index
    return torch.nn.ModuleList(layers)


def place_of(config: Any, path: str) -> tuple[Any, str]:
    """The configuration, ``config`` or one inside it, that holds the value at a dotted path, and the value's name there."""
    *owners, name = path.split(".")
    for owner in owners:
        config = getattr(config, owner)
    return config, name
