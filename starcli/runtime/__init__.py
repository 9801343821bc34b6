"""Processes, threads, memory, devices, progress: what a computation runs on.

progress.py        how work reports and is stopped; begin here. saving_times.py: when it saves
rehearsal.py       how long work would take: `--dry-run`
device.py          which device; arithmetic.py: how exact it is; backward.py: gradients that it repeats
threads.py, memory.py, garbage.py     what makes it fast
global_generator.py, process_setting.py     what threads have in common
distributed.py     ranks: rendezvous.py, rank_errors.py; sharing.py: work dealt out among them
user_code.py       code of the user's own; blame.py: whose fault an error in it is; stdout.py: what it prints
dispatch_mode.py   sees every operator that torch runs
"""
