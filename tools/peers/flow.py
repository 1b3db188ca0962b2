"""Luigi or d6tflow on the graphs of tools/bench flow; the line protocol of peer.py, without torch.

  case package=luigi|d6tflow graph=finished|ladder|memory|saved n=N

finished: N saved tasks that are there, below one that is not: every target is looked at.  ladder:
two tasks a level, each of which needs both below.  memory, saved: N trivial tasks below one, kept in
memory (Luigi's MockTarget, d6tflow's TaskCache) or as JSON files, which neither package syncs.
"""

import logging
import os
import shutil
import sys
import tempfile
import time
import warnings

warnings.simplefilter("ignore")
answers, sys.stdout = sys.stdout, sys.stderr

import luigi
import luigi.mock
import d6tflow
from importlib.metadata import version

logging.disable(logging.CRITICAL)
try:
    from loguru import logger
    logger.remove()
except ImportError:
    pass
d6tflow.settings.log_level = "CRITICAL"


class Luigi:
    """Classes of tasks; `again` in each tells rounds apart."""

    def __init__(self, graph, n, folder):
        def target(task):
            name = f"{type(task).__name__}-{task.task_id}"
            if graph in ("memory", "ladder"):
                return luigi.mock.MockTarget(name)
            return luigi.LocalTarget(f"{folder}/{name}.json")

        class Leaf(luigi.Task):
            i = luigi.IntParameter()
            again = luigi.IntParameter()

            def output(self):
                return target(self)

            def run(self):
                with self.output().open("w") as file:
                    file.write(str(self.i))

        class Rung(Leaf):
            left = luigi.BoolParameter()

            def requires(self):
                if self.i == 1:
                    return []
                return [Rung(i=self.i - 1, again=self.again, left=left) for left in (True, False)]

        class Root(Leaf):
            look = luigi.IntParameter(0)

            def requires(self):
                if graph == "ladder":
                    return [Rung(i=n, again=self.again, left=left) for left in (True, False)]
                return [Leaf(i=i, again=self.again) for i in range(n)]

        self.root, self.leaf = Root, Leaf

    def run(self, again, look):
        ok = luigi.build([self.root(i=0, again=again, look=look)], local_scheduler=True,
                         no_lock=True, log_level="CRITICAL")
        if not ok:
            raise RuntimeError("luigi.build failed")


class D6tflow:
    def __init__(self, graph, n, folder):
        d6tflow.set_dir(folder)
        base = d6tflow.tasks.TaskCache if graph in ("memory", "ladder") else d6tflow.tasks.TaskJson

        class Leaf(base):
            i = luigi.IntParameter()
            again = luigi.IntParameter()

            def run(self):
                self.save({"i": self.i})

        class Rung(Leaf):
            left = luigi.BoolParameter()

            def requires(self):
                if self.i == 1:
                    return []
                return [Rung(i=self.i - 1, again=self.again, left=left) for left in (True, False)]

        class Root(Leaf):
            look = luigi.IntParameter(0)

            def requires(self):
                if graph == "ladder":
                    return [Rung(i=n, again=self.again, left=left) for left in (True, False)]
                return [Leaf(i=i, again=self.again) for i in range(n)]

        self.root, self.leaf = Root, Leaf

    def run(self, again, look):
        result = d6tflow.run(self.root(i=0, again=again, look=look), execution_summary=False)
        if result is False:
            raise RuntimeError("d6tflow.run failed")


def answer(line):
    answers.write(line + "\n")
    answers.flush()


def main():
    answer(f"peer Luigi {version('luigi')}, d6tflow {version('d6tflow')}")
    folder, at_work, graph, again = tempfile.mkdtemp(), None, None, 0
    os.chdir(folder)
    try:
        for line in sys.stdin:
            words = line.split()
            if words[0] == "end":
                return
            try:
                if words[0] == "case":
                    case = dict(word.split("=", 1) for word in words[1:])
                    graph, n = case["graph"], int(case["n"])
                    kind = Luigi if case["package"] == "luigi" else D6tflow
                    at_work = kind(graph, n, tempfile.mkdtemp(dir=folder))
                    again += 1
                    if graph == "finished":
                        for i in range(n):  # Luigi's scheduler would take minutes for these
                            at_work.leaf(i=i, again=again).run()
                    look, steps = 0, 1 if graph in ("finished", "ladder") else n
                    answer("ok threads=1 blas_threads=1")
                else:
                    look += 1
                    if graph != "finished":
                        again += 1
                    begin = time.perf_counter()
                    at_work.run(again, look)
                    answer(f"ok seconds={(time.perf_counter() - begin) / steps:.9f}")
            except Exception as e:  # the bench shows it
                answer("error " + str(e).replace("\n", " "))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
