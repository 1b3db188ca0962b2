"""What every PyTorch peer of tools/bench shares: threads, versions, and the line protocol.

A peer reads commands from standard input and answers each with one line on standard output:

  case KEY=VALUE ...   build that case, try thread counts   ->  ok threads=N blas_threads=M
                       (steps=N: a round's; threads=N: no trying)
  run                  time the next round of steps         ->  ok seconds=S (a step, mean of the round)
  end                  leave

Anything wrong is answered by `error MESSAGE`.  The first line, unasked, is `peer VERSION`.
"""

import ctypes
import json
import os
import sys
import time

import numpy
import torch

cores = len(os.sched_getaffinity(0))


def blas():
    """(name, library or None): the BLAS that this process has loaded, by its mapped file."""
    with open("/proc/self/maps") as maps:
        files = sorted({line.split()[-1] for line in maps if "/" in line and ".so" in line})
    for path in files:
        base = os.path.basename(path)
        if base.startswith("libopenblas"):
            lib = ctypes.CDLL(path)
            lib.openblas_get_config.restype = ctypes.c_char_p
            config = lib.openblas_get_config().decode().split()
            return " ".join(config[:2]), lib
        if base.startswith("libmkl"):
            return "MKL", None
        if base.startswith("libblis"):
            return "BLIS", None
    config = torch.__config__.show()
    if "BLAS_INFO=mkl" in config:
        return "MKL", None
    if any(os.path.basename(p).startswith("libblas.") for p in files):
        return "reference-BLAS", None
    return "bundled-BLAS", None


blas_name, blas_lib = blas()


def set_threads(threads, blas_threads):
    torch.set_num_threads(threads)
    if blas_lib is not None:
        blas_lib.openblas_set_num_threads(blas_threads)


def thread_choices():
    """Thread counts worth trying: 1, 2, 4, ... and all cores; BLAS's own pool apart, if it has one."""
    counts = [1]
    while counts[-1] * 2 < cores:
        counts.append(counts[-1] * 2)
    if cores > 1:
        counts.append(cores)
    pairs = [(n, n) for n in counts]
    if blas_lib is not None and cores > 1:
        pairs += [(1, cores), (cores, 1)]
    return pairs


def loop_of(step):
    def loop(steps, first):
        for k in range(first, first + steps):
            step(k)
    return loop


class Case:
    """One case at its best thread counts.

    loop(steps, first) does the work of that many steps from step `first` on; every step has a batch
    of its own.  A round is `steps` of them.
    """

    def __init__(self, loop, steps, threads=None):
        self.loop, self.steps, self.next = loop, steps, 0
        trial = max(1, steps // 4)
        best = None
        for pair in [(threads, threads)] if threads else thread_choices():
            set_threads(*pair)
            self.run(trial)
            seconds = min(self.run(trial) for _ in range(2))
            if best is None or seconds < best[0]:
                best = (seconds, pair)
        self.threads = best[1]
        set_threads(*self.threads)

    def run(self, steps=None):
        steps = steps or self.steps
        begin = time.perf_counter()
        self.loop(steps, self.next)
        seconds = (time.perf_counter() - begin) / steps
        self.next += steps
        return seconds


def read_safetensors(path):
    """The tensors of a safetensors file by name, and its metadata."""
    kinds = {"F64": "f8", "F32": "f4", "I64": "i8", "I32": "i4", "U8": "u1", "BOOL": "?"}
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start, arrays = file.tell(), {}
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                file.seek(start + begin)
                array = numpy.frombuffer(bytearray(file.read(end - begin)), kinds[entry["dtype"]])
                arrays[name] = torch.from_numpy(array.reshape(entry["shape"]))
    return arrays, header.get("__metadata__", {})


def version():
    return f"PyTorch {torch.__version__}, {blas_name}"


def serve(build):
    """build(options) returns loop; options are the words of the case line."""
    print("peer", version(), flush=True)
    case = None
    for line in sys.stdin:
        words = line.split()
        try:
            if not words or words[0] == "end":
                break
            if words[0] == "case":
                case = None
                options = dict(word.split("=", 1) for word in words[1:])
                threads = int(options["threads"]) if "threads" in options else None
                case = Case(build(options), int(options["steps"]), threads)
                print(f"ok threads={case.threads[0]} blas_threads={case.threads[1]}", flush=True)
            elif words[0] == "run":
                print(f"ok seconds={case.run():.9g}", flush=True)
            else:
                print(f"error unknown command {words[0]!r}", flush=True)
        except Exception as failure:  # whatever it is, the other side must hear of it
            text = " ".join(str(failure).split())[:300]
            print(f"error {type(failure).__name__}: {text}", flush=True)
