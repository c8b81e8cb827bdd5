#!/usr/bin/env python3
"""Repair and training: what repair is worth to fine-tuning, and what gradients give in the time of a repair.

    cd recipes/mini && . ./path.sh
    python ../../benchmarks/repair_training.py finetune --exp exp/transformer12 --num-prune 6        epochs from pruned and from repaired
    python ../../benchmarks/repair_training.py distillation --exp exp/transformer12 --num-prune 6    the same utterances, 1, 3, 10 times the time

Fine-tuning is stage 5's, by conf/finetune.yaml, without averaging: models are scored as they are after --epochs. Distillation
trains the pruned model on the deep model's posteriors of the utterances that the repair reads, without their texts; its learning
rate is the best of three on dev. Rows are kept in --out as they are measured; repair_seeds.py puts those of several deep models together.
"""

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
from comflp.train.distillation import posterior_divergence
from comflp.train.fit import fit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "local"))
import hparams

LEARNING_RATES = (1e-4, 5e-4, 2e-3)


def finetune(bench):
    """Epochs of fine-tuning from the pruned and from the repaired model, each with its own settings of conf/finetune.yaml."""
    train, dev = (read_data_dir(bench.options.data / name) for name in ("train", "dev"))
    epochs = sorted(bench.options.epochs)

    def fine_tune(proposal, repaired):
        overrides = [f"--number_of_epochs={epochs[-1]}", "--average=1", f"--snapshot_epochs={epochs}"]
        configuration = hparams.load(bench.options.config, overrides, "after_repair" if repaired else None)
        start = bench.deep.prune(proposal)
        if repaired:
            start = bench.calibration(256).repair(start)
        directory = bench.options.out.with_suffix("") / f"{proposal}{'_repaired' * repaired}"
        fit(start, train, dev, directory, configuration.values,
            take_snapshot=lambda model, epoch: bench.rows.of(trained_key(proposal, epoch, repaired), lambda: bench.score(model)))

    rows = []
    for num_prune in bench.options.num_prune:
        for name in bench.options.choices:
            proposal = bench.chosen(num_prune, name)
            row = {"N": num_prune, "choice": name, "deep": percent(bench.deep_row()), "pruned": percent(bench.pruned_row(proposal)),
                   "repaired": percent(bench.repaired_row(proposal, 256))}
            for repaired in (False, True):
                keys = {epoch: trained_key(proposal, epoch, repaired) for epoch in epochs}
                if not bench.rows.rows.keys() >= set(keys.values()):
                    fine_tune(proposal, repaired)
                row |= {f"{epoch} from {'repaired' if repaired else 'pruned'}": percent(bench.rows.rows[key]) for epoch, key in keys.items()}
            rows.append(row)
    return rows


def distillation(bench):
    """A repair against distillation of the same utterances, for --times the processor seconds of the repair."""
    dev, rows = read_data_dir(bench.options.data / "dev"), []
    for num_prune in bench.options.num_prune:
        proposal = bench.chosen(num_prune, bench.options.choices[0])
        row = bench.rows.of(f"{proposal} equal time", partial(equal_time, bench, proposal, dev))
        chosen = {times: min((row[f"{times} {lr}"] for lr in LEARNING_RATES), key=lambda one: one["dev"]) for times in bench.options.times}
        rows.append({"N": num_prune, "removed": str(proposal), "pruned": percent(bench.pruned_row(proposal)),
                     "repaired": f"{percent(row['repaired'])} in {row['seconds']:.0f} s"}
                    | {f"distilled, {times}x": f"{percent(one)}, lr {one['lr']:g}, {one['steps']} steps" for times, one in chosen.items()})
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
    arguments.add_argument("--epochs", type=int, nargs="+", default=[1, 3], help="after how many epochs of fine-tuning the model is scored")
    arguments.add_argument("--times", type=int, nargs="+", default=[1, 3, 10], help="processor seconds of distillation, in those of the repair")
    options = arguments.parse_args()
    print(table(TABLES[options.table](Bench(options))))


if __name__ == "__main__":
    main()
