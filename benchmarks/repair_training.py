#!/usr/bin/env python3
"""Repair and training: what repair is worth to fine-tuning, and what gradients give in the time of a repair.

    cd recipes/mini && . ./path.sh
    python ../../benchmarks/repair_training.py finetune --exp exp/transformer12 --num-prune 6        epochs from pruned and from repaired
    python ../../benchmarks/repair_training.py distillation --exp exp/transformer12 --num-prune 6    the same utterances, 1, 3, 10 times the time

Fine-tuning is stage 5's, by conf/finetune.yaml, without averaging: models are scored as they are after --epochs. Its --starts
are the pruned model, the repaired one and the small model from nothing, each also with distillation from the deep model.
The table ``distillation`` trains the pruned model on the deep model's posteriors of the utterances that the repair reads,
without their texts; its learning rate is the best of three on dev, and what was
trained longest is repaired on them too. Rows are kept in --out as they are measured;
repair_seeds.py puts those of several deep models together.
"""

import shutil
import sys
import time
from functools import partial
from pathlib import Path

import torch
from measuring import Stopwatch, table
from repair_rows import Bench, options_of, percent, rate, trained_key

from comflp.data.data_dir import read_data_dir
from comflp.inference.device import evaluation
from comflp.inference.loop import load_batches, plan_batches
from comflp.inference.speech import Speech
from comflp.repair import repair
from comflp.train.distillation import Distillation, posterior_divergence
from comflp.train.fit import fit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "local"))
import hparams

STARTS = [f"{start}{more}" for more in ("", "_distilled") for start in ("pruned", "repaired", "scratch")]
LEARNING_RATES = (1e-4, 5e-4, 2e-3)


def finetune(bench):
    """Epochs of training from each start, by conf/finetune.yaml; a row keeps the processor seconds that were spent up to its epoch."""
    rows = []
    for num_prune in bench.options.num_prune:
        for name in bench.options.choices:
            proposal = bench.chosen(num_prune, name)
            row = {"N": num_prune, "choice": name, "deep": percent(bench.deep_row()), "pruned": percent(bench.pruned_row(proposal)),
                   "repaired": percent(bench.repaired_row(proposal, 256))}
            for start in bench.options.starts:
                keys = {epoch: trained_key(proposal, epoch, start) for epoch in sorted(bench.options.epochs)}
                if not bench.rows.rows.keys() >= set(keys.values()):
                    train(bench, proposal, start)
                row |= {f"{epoch} from {start}": percent(bench.rows.rows[key]) for epoch, key in keys.items()}
            rows.append(row)
    return rows


def train(bench, proposal, start):
    """Train from a start and keep a row after each of --epochs; the seconds of a repair count, those of scoring do not."""
    kind, epochs = start.split("_")[0], sorted(bench.options.epochs)
    overrides = [f"--number_of_epochs={epochs[-1]}", "--average=1", f"--snapshot_epochs={epochs}"]
    values = hparams.load(bench.options.config, overrides, "after_repair" if kind == "repaired" else None).values
    began, scoring = time.process_time(), 0.0
    model, teacher = bench.deep.prune(proposal), None
    if kind == "repaired":
        model = bench.calibration(256).repair(model)
    if kind == "scratch":
        model.reinitialize(values["seed"], keep_frontend=False)
    if start.endswith("_distilled"):
        weights = {name: values[f"distill_{name}"] for name in ("ctc_weight", "hidden_weight", "temperature")}
        teacher = Distillation.of_kind("both", bench.deep, proposal.kept, **weights)
    directory = bench.options.out.with_suffix("") / f"{proposal}_{start}"
    shutil.rmtree(directory, ignore_errors=True)  # a training that goes on would not know the seconds before

    def keep(model, epoch):
        nonlocal scoring
        now = time.process_time()
        bench.rows.of(trained_key(proposal, epoch, start), lambda: {**bench.score(model), "seconds": now - began - scoring})
        scoring += time.process_time() - now

    data = (read_data_dir(bench.options.data / name) for name in ("train", "dev"))
    fit(model, *data, directory, values, distillation=teacher, take_snapshot=keep)


def distillation(bench):
    """A repair against distillation of the same utterances, for --times the processor seconds of the repair."""
    dev, rows = read_data_dir(bench.options.data / "dev"), []
    for num_prune in bench.options.num_prune:
        proposal = bench.chosen(num_prune, bench.options.choices[0])
        row = bench.rows.of(f"{proposal} equal time {bench.options.times}", partial(equal_time, bench, proposal, dev))
        chosen = {times: min((row[f"{times} {lr}"] for lr in LEARNING_RATES), key=lambda one: one["dev"]) for times in bench.options.times}
        rows.append({"N": num_prune, "removed": str(proposal), "pruned": percent(bench.pruned_row(proposal)),
                     "repaired": f"{percent(row['repaired'])} in {row['seconds']:.0f} s"}
                    | {f"distilled, {times}x": f"{percent(one)}, lr {one['lr']:g}, {one['steps']} steps" for times, one in chosen.items()}
                    | {"that one repaired": percent(chosen[bench.options.times[-1]]["repaired"])})
    return rows


def equal_time(bench, proposal, dev):
    """Errors of the repaired model, its processor seconds, and of the distilled one for each time and learning rate."""
    speech = Speech(bench.deep, bench.probe).drawn(256, 0)
    watch = Stopwatch()
    repaired = repair(speech, bench.deep.prune(proposal))
    seconds = watch.read()["cpu_seconds"]
    found = {"repaired": bench.score(repaired), "seconds": seconds}
    for lr in LEARNING_RATES:
        model, spent, steps = bench.deep.prune(proposal), 0.0, 0
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        for times in bench.options.times:
            while spent < times * seconds:
                took, done = epoch(model, speech, optimizer, times * seconds - spent, seed=steps)
                spent, steps = spent + took, steps + done
            found[f"{times} {lr}"] = {**bench.score(model), "dev": rate(bench.score(model, dev)), "lr": lr, "steps": steps}
        found[f"{times} {lr}"]["repaired"] = bench.score(repair(speech, model))
    return found


def epoch(model, speech, optimizer, seconds, seed):
    """Steps over the utterances in batches of 16, in a random order, until the processor seconds are over; (seconds, steps)."""
    started, steps = time.process_time(), 0
    batches = plan_batches(model, speech.data, max_seconds=60)
    order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(seed)).tolist()
    model.train()
    for batch in load_batches(model, [batches[number] for number in order]):
        with evaluation(speech.model), torch.no_grad():
            target = speech.model(batch)
        output = model(batch)
        loss = posterior_divergence(target.logits[target.own()], output.logits[output.own()])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        steps += 1
        if time.process_time() - started > seconds:
            break
    model.eval()
    return time.process_time() - started, steps


TABLES = {"finetune": finetune, "distillation": distillation}


def main():
    arguments = options_of(TABLES, __doc__)
    arguments.add_argument("--config", default="conf/finetune.yaml", help="configuration of the fine-tuning")
    arguments.add_argument("--starts", nargs="+", default=["pruned", "repaired"], choices=STARTS, help="what is trained; distilled: from the deep model too")
    arguments.add_argument("--epochs", type=int, nargs="+", default=[1, 3], help="after how many epochs of fine-tuning the model is scored; 0: before any")
    arguments.add_argument("--times", type=int, nargs="+", default=[1, 3, 10], help="processor seconds of distillation, in those of the repair")
    options = arguments.parse_args()
    print(table(TABLES[options.table](Bench(options))))


if __name__ == "__main__":
    main()
