"""comflp.inference.decode: CTC collapse, independence of batching, resuming, sharing."""

import pytest
import torch
from fixtures.interrupting import stopping_after
from fixtures.models import make_model as make_published

from comflp.data.data_dir import DataDir, Utterance
from comflp.errors import ComflpError
from comflp.inference.decode import decode
from comflp.models.greedy import greedy_search
from comflp.inference.device import evaluation
from comflp.inference.hypothesis_files import trn, worst
from comflp.inference.loop import load_batches, plan_batches
from comflp.models import load
from comflp.scoring import ErrorRate


class Letters:
    """Ids 1.. are letters, 0 is the blank."""

    vocab_size, blank_id = 4, 0

    def decode(self, ids):
        return "".join("-abc"[i] for i in ids)


def test_greedy_search_merges_repeats_removes_blanks_and_reads_no_padding():
    labels = torch.tensor([[1, 1, 0, 1, 2, 2, 3], [0, 3, 3, 0, 1, 1, 1]])
    logits = torch.nn.functional.one_hot(labels, 4).float()
    assert greedy_search(logits, torch.tensor([7, 4]), Letters()) == ["aabc", "c"]


def test_texts_are_those_of_each_utterance_alone_whatever_the_batches(make_model, make_data):
    model, data = make_model(), make_data()
    alone = {}
    with evaluation(model):
        for utterance, batch in zip(data, load_batches(model, [[utterance] for utterance in data])):
            output = model(batch)
            alone[utterance.utt_id] = greedy_search(output.logits, output.num_frames, model.tokenizer)[0]
    assert len(set(alone.values())) > 3
    for max_seconds in (0.5, 2.0, 100.0):
        assert decode(model, data, max_seconds=max_seconds) == alone


def test_seconds_are_counted_and_the_mode_comes_back(make_model, make_data):
    model, data = make_model().train(), make_data()
    hypotheses = decode(model, data)
    assert model.training
    assert list(hypotheses) == sorted(hypotheses)
    assert hypotheses.audio_seconds == pytest.approx(data.seconds)
    assert hypotheses.rtf == hypotheses.decode_seconds / hypotheses.audio_seconds > 0


def counting(seen):
    def wrap(iterable, desc, total):
        seen.append(total)
        return iterable

    return wrap


def test_a_killed_run_goes_on_and_a_torn_line_is_dropped(make_model, make_data, tmp_path):
    model, data = make_model(), make_data()
    work = tmp_path / "work"
    options = {"max_seconds": 2.0, "work": work}
    batches = plan_batches(model, data, 2.0)
    with pytest.raises(KeyboardInterrupt):
        decode(model, data, **options, progress=stopping_after(len(batches[0]) + 1))
    (journal,) = work.iterdir()
    with open(journal, "ab") as file:
        file.write(b'{"index": 3, "result": {"te')
    totals = []
    assert decode(model, data, **options, progress=counting(totals)) == decode(model, data)
    assert totals == [len(data) - len(batches[0]) - len(batches[1])] and totals[0] > 0
    decode(model, data, **options, progress=counting(totals))
    decode(make_model(seed=1), data, **options, progress=counting(totals))
    assert totals[1:] == [0, len(data)], "another model's partial results were used"


def test_work_in_progress_that_was_damaged_is_made_again(make_model, make_data, tmp_path):
    model, data, work = make_model(), make_data(), tmp_path / "work"
    whole = decode(model, data, work=work, max_seconds=2.0)
    (journal,) = work.iterdir()
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([b"\0\xff{\n", b"[]\n", b'{"index": 0}\n', *lines[2:]]))
    totals = []
    assert decode(model, data, work=work, max_seconds=2.0, progress=counting(totals)) == whole
    assert totals == [sum(map(len, plan_batches(model, data, 2.0)[:2]))]


def test_what_another_process_of_an_earlier_run_did_is_not_done_again(make_model, make_data, tmp_path):
    model, data = make_model(), make_data()
    options, totals = {"max_seconds": 2.0, "work": tmp_path / "work"}, []
    whole = decode(model, data, **options)
    (journal,) = (tmp_path / "work").iterdir()
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) > 2
    journal.write_bytes(lines[0])
    journal.with_name(journal.name.replace(".0.", ".1.")).write_bytes(b"".join(lines[1:]))
    assert decode(model, data, **options, progress=counting(totals)) == whole
    assert totals == [0]


def test_an_utterance_too_short_for_the_model_is_told_before_any_work(make_data, tmp_path):
    model, data = load(make_published(tmp_path / "model", "wav2vec2", "abc ")), make_data(3)
    short = Utterance("tiny", "tiny.wav", "a", "s", 20 / model.sample_rate)
    with pytest.raises(ComflpError, match="utterance tiny has only 20 samples at .* too few for one frame"):
        plan_batches(model, DataDir(tmp_path, [*data, short]), 100.0)


def test_the_worst_utterances_where_none_is_asked_for():
    data = DataDir("x", [Utterance("u", "a.wav", "a b", "s", 1.0)])
    assert worst(data, {"u": "a b"}, {"u": "a b"}, {"u": ErrorRate(hits=2)}, "wer", 5) == "every utterance is right\n"
    assert worst(data, {"u": "a b"}, {"u": "a"}, {"u": ErrorRate(deletions=1, hits=1)}, "wer", 0) == ""


@pytest.mark.parametrize(("text", "metric", "line"), [
    ("\u4f60\u597d \u4e16\u754c", "cer", "\u4f60 \u597d \u4e16 \u754c (s-u)"),  # Chinese, cut into words
    ("\u7528 iphone 4", "cer", "\u7528 i p h o n e <space> 4 (s-u)"),
    ("a cat", "cer", "a <space> c a t (s-u)"),
    ("\u4f60\u597d \u4e16\u754c", "wer", "\u4f60\u597d \u4e16\u754c (s-u)"),
])  # fmt: skip
def test_sclite_counts_the_spaces_that_cer_counts(text, metric, line):
    assert trn(DataDir("x", [Utterance("u", "u.wav", text, "s", 1.0)]), {"u": text}, metric) == line + "\n"
