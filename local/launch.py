#!/usr/bin/env python3
"""Start a script in one process or in several, here or on several nodes, by torchrun.

    launch.py [--nproc-per-node P] [--standalone | --nnodes N --node-rank R --rdzv-endpoint HOST:PORT] SCRIPT ARGUMENT...

The words are torchrun's. --standalone is this node alone, also within a job step of Slurm. Without it the tasks of a job step
are the nodes: ``srun --ntasks 2 python launch.py SCRIPT`` starts one script in two processes that know each other. One process
on one node is the script itself, without torchrun.
Below an error of the script there is no traceback of torchrun's.
"""

import logging
import os
import re
import sys
from argparse import REMAINDER
from pathlib import Path

from cli import Parser
from lifetime import LAUNCHER, tie_to_parent
from option_types import whole

from comflp.errors import ComflpError
from comflp.processes import slurm_step

JOIN_SECONDS = 600
"""How long nodes wait for one another."""


def main() -> None:
    arguments = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    arguments.add_argument("--nproc-per-node", type=whole(1, 1024), default=1, help="processes on each node")
    nodes = arguments.add_mutually_exclusive_group()
    nodes.add_argument("--standalone", action="store_const", const=1, dest="nnodes", help="one node, whatever Slurm says")
    nodes.add_argument("--nnodes", type=whole(1, 4096), help="number of nodes; Slurm's tasks or 1 if left out")
    arguments.add_argument("--node-rank", type=whole(0, 4095), default=0, help="number of this node, from 0")
    arguments.add_argument("--rdzv-endpoint", default="", help="HOST:PORT of node 0, where the nodes meet")
    arguments.add_argument("command", nargs=REMAINDER, help="the script and its arguments")
    options = arguments.parse_args()
    if not options.command:
        arguments.error("a script and its arguments are missing")
    tie_to_parent()
    if options.nnodes is None:
        try:
            nodes, rank, (host, port) = slurm_step(os.environ)
        except ComflpError as error:
            arguments.error(str(error))
        endpoint = f"{host}:{port}"
    else:
        nodes, rank, endpoint = options.nnodes, options.node_rank, options.rdzv_endpoint
    if not 0 <= rank < nodes:
        arguments.error(f"--node-rank {rank} is not one of 0 to {nodes - 1}")
    if nodes > 1 and not re.fullmatch(r".+:\d+", endpoint):
        arguments.error(f"--rdzv-endpoint {endpoint!r} is not HOST:PORT, where HOST is node 0 and PORT is free there")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # what torch's C++ would print is said by us, in one line
    if nodes * options.nproc_per_node == 1:
        os.execv(sys.executable, [sys.executable, *options.command])
    where = ["--nnodes", nodes, "--node-rank", rank, "--rdzv-endpoint", endpoint, "--rdzv-conf", f"timeout={JOIN_SECONDS}"]
    run(["--standalone"] if nodes == 1 else where, options, endpoint)


def run(where, options, endpoint):
    """torchrun, its exceptions turned into exit statuses."""
    # One process needs none of this, and torch takes seconds to import.
    from torch.distributed import DistStoreError
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    # What it says of a process that ended is said below, in one line.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    script = Path(options.command[0]).name
    os.environ[LAUNCHER] = str(os.getpid())
    try:
        torchrun([*map(str, where), "--nproc-per-node", str(options.nproc_per_node), *options.command])
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode < 0:  # ended by a signal, it could not say anything itself
            print(f"{script}: error: process {rank} was ended by {failure.signal_name()} (where memory is short, the system "
                  "sends SIGKILL); what was done is kept, run the same command again to go on", file=sys.stderr)
        sys.exit(1)
    except SignalException as stopped:
        sys.exit(128 + stopped.sigval)
    except DistStoreError as error:
        print(f"{script}: error: not all nodes came to {endpoint} within {JOIN_SECONDS // 60} minutes; "
              f"start the same command on each of them, and let them reach this port ({error})", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
