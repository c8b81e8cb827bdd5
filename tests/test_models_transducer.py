"""Transducers as one stack: rows along a path and greedy search are the library's own, whole and pruned, in batches and alone."""

import json

import pytest
import torch
import transformers
from fixtures.own_forward import alone
from fixtures.transducers import SAMPLE_RATE, make_rnnt, make_tdt
from transformers import AutoProcessor

import comflp.models
from comflp.errors import ComflpError
from comflp.inference.device import evaluation
from comflp.models.verify import noise_batch, verify_saved
from comflp.proposal import PruningProposal

LENGTHS = (0.5, 1.0, 2.3)


@pytest.fixture(scope="module", params=[make_rnnt, make_tdt])
def model(request, tmp_path_factory):
    directory = request.param(tmp_path_factory.mktemp("model"))
    loaded = comflp.models.load(directory)
    loaded.directory = directory
    return loaded


def at_the_end(model, audio, proposal=None):
    with torch.no_grad():
        state = model.begin(audio)
        for step in model.path(proposal):
            state = model.run(state, step)
    return state


def own_path(model, audio, proposal=None):
    with torch.no_grad():
        return model.spell(at_the_end(model, audio, proposal))


def library_model(model, directory):
    return getattr(transformers, model.library_class).from_pretrained(directory).eval()


def library_rows(model, library, single, steps):
    """Rows of (symbol, duration) logits, by walking the library's own lattice of every frame with every number of labels."""
    symbols, blank = library.config.vocab_size, library.config.blank_token_id
    labels = [step % symbols for step in steps if step % symbols != blank]
    inputs = model.processor.feature_extractor(single.waveforms[0].numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
    with torch.no_grad():
        lattice = library(**inputs, decoder_input_ids=torch.tensor([[blank, *labels]])).logits
    lattice = lattice.view(-1, 1 + len(labels), lattice.shape[-1])
    rows, frame, said = [], 0, 0
    for step in steps:
        rows.append(lattice[frame, said])
        frame, said = frame + step // symbols, said + (step % symbols != blank)
    return torch.stack(rows)


def test_one_stack_and_a_blank(model):
    assert list(model.stacks) == ["encoder"] and model.num_layers == 4 and model.teacher_forced
    assert model.tokenizer.blank_id == model.model.config.blank_token_id == model.num_symbols - 1
    assert model.tokenizer.decode(model.tokenizer.encode("ab c")) == "ab c"


@pytest.mark.parametrize("removed", ["none", "1", "2-3"])
def test_every_utterance_gets_the_rows_that_the_library_gives_it_alone(model, tmp_path, removed):
    proposal = PruningProposal.parse(removed, 4)
    audio = noise_batch(SAMPLE_RATE, LENGTHS)
    paths = own_path(model, audio)
    pruned = model.prune(proposal)
    pruned.save(tmp_path / "pruned")
    verify_saved(pruned, tmp_path / "pruned")
    library = library_model(model, tmp_path / "pruned")
    forced = audio.with_targets(paths)
    with torch.no_grad():
        found = [pruned(forced), model.finish(at_the_end(model, forced, proposal))]
    rows = 2 if model.model.config.model_type == "parakeet_tdt" else 1
    for output in found:
        assert output.num_frames.tolist() == [rows * len(path) for path in paths]
        for logits, path, single in zip(output.logits, paths, alone(audio)):
            expected = library_rows(model, library, single, path)
            logits = logits[: rows * len(path)]
            torch.testing.assert_close(logits[::rows], expected[:, : model.num_symbols], rtol=1e-4, atol=1e-4)
            if rows == 2:
                durations = expected[:, model.num_symbols :]
                torch.testing.assert_close(logits[1::2, : durations.shape[1]], durations, rtol=1e-4, atol=1e-4)
                assert float(torch.softmax(logits[1::2], dim=1)[:, durations.shape[1] :].sum()) == 0


def test_the_rows_of_its_own_path_say_the_path(model):
    """Teacher-forced on what it recognises, a model says the same again: the rows are those of its search."""
    audio = noise_batch(SAMPLE_RATE, LENGTHS)
    paths = own_path(model, audio)
    blank, seen = model.tokenizer.blank_id, set()
    with torch.no_grad():
        output = model(audio.with_targets(paths))
    for logits, path in zip(output.logits, paths):
        symbols = [step % model.num_symbols for step in path]
        seen |= {"blank" if symbol == blank else "label" for symbol in symbols}
        best = logits[: len(path) * (1 + (model.family == "parakeet_tdt"))].argmax(dim=1).tolist()
        if model.family == "parakeet_rnnt":
            assert best == symbols
        else:
            wanted = [step // model.num_symbols for step in path]
            assert best[::2] == symbols
            assert [max(d, 1) if s == blank else d for d, s in zip(best[1::2], symbols)] == wanted
    assert seen == {"blank", "label"}


@pytest.mark.parametrize("removed", ["none", "1", "2-3"])
def test_greedy_search_is_the_librarys_own_of_each_utterance_alone(model, tmp_path, removed):
    proposal = PruningProposal.parse(removed, 4)
    audio = noise_batch(SAMPLE_RATE, LENGTHS)
    paths, state = own_path(model, audio, proposal), at_the_end(model, audio, proposal)
    pruned = model.prune(proposal)
    pruned.save(tmp_path / "pruned")
    library, processor = library_model(model, tmp_path / "pruned"), AutoProcessor.from_pretrained(tmp_path / "pruned")
    assert own_path(pruned, audio) == paths
    texts, cut_off = model.texts({"": paths})[""], model.unended(paths, state)
    for path, text, unended, single in zip(paths, texts, cut_off, alone(audio)):
        inputs = processor(single.waveforms[0].numpy(), sampling_rate=SAMPLE_RATE)
        frames = int(model.num_frames(single.num_samples))
        found = library.generate(**inputs, max_new_tokens=3 * frames)
        sequence, durations = found.sequences[0, 1:].tolist(), found.durations[0, 1:].tolist()
        assert path == [symbol + model.num_symbols * duration for symbol, duration in zip(sequence, durations)]
        assert unended == (sum(durations) < frames)
        assert text == processor.batch_decode(found.sequences, skip_special_tokens=True)[0]


def test_a_search_is_cut_off_at_twice_the_steps_of_the_deep_model(model):
    audio = noise_batch(SAMPLE_RATE, LENGTHS)
    whole = own_path(model, audio)
    short = own_path(model, audio.with_targets([[0], [0, 0], [0]]))
    assert short == [path[:limit] for path, limit in zip(whole, (10, 12, 10))]


def test_a_saved_directory_says_where_it_is_from_and_how_the_library_loads_it(model, tmp_path):
    pruned = model.prune(PruningProposal.parse("2", 4))
    pruned.save(tmp_path / "pruned")
    config = json.loads((tmp_path / "pruned" / "config.json").read_text())
    assert config["encoder_config"]["num_hidden_layers"] == 3 and config["comflp"]["pruning"][0]["removed"] == "2"
    card = (tmp_path / "pruned" / "README.md").read_text()
    assert model.library_class in card and "ctc" not in card.lower()
    processor = AutoProcessor.from_pretrained(tmp_path / "pruned")
    assert processor.decoder_type == model.family.removeprefix("parakeet_")
    again = comflp.models.load(pruned.model, pruned.processor)
    audio = noise_batch(SAMPLE_RATE, LENGTHS)
    assert own_path(again, audio) == own_path(comflp.models.load(tmp_path / "pruned"), audio)


def test_an_encoder_in_bf16_is_searched_and_compared_in_float32(model):
    audio = noise_batch(SAMPLE_RATE, LENGTHS)
    with evaluation(model, "bf16"):
        paths = own_path(model, audio)
        rows = model(audio.with_targets(paths)).logits
    with torch.no_grad():
        whole = model(audio.with_targets(paths)).logits
    assert rows.dtype == torch.float32 and torch.isfinite(rows).all()
    assert 0 < float((rows - whole).abs().max()) < float(whole.clamp_min(-100).std())


def test_a_pass_needs_paths(model):
    with pytest.raises(ComflpError, match="a teacher-forced pass of a transducer needs hypotheses"):
        model(noise_batch(SAMPLE_RATE, (0.5,)))


def test_gradients_reach_every_part(model, tmp_path):
    model.save(tmp_path / "deep")
    trained = comflp.models.load(tmp_path / "deep").train()
    audio = noise_batch(SAMPLE_RATE, LENGTHS)
    trained(audio.with_targets(model.example_targets(3))).log_probs()[..., 0].square().mean().backward()
    inner = trained.model
    for part in (inner.encoder.subsampling, trained.stacks["encoder"].layers[0], inner.encoder_projector, inner.decoder, inner.joint):
        gradient = next(part.parameters()).grad
        assert gradient is not None and gradient.abs().sum() > 0
