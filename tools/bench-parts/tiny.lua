--- The public DLRM program's own defaults: what a step costs beside its arithmetic.
return {
  doc = "DLRM training step of the public program's default model at batch 2: operations times dispatch",
  run = function(bench)
    require("frame.dlrm_step").run(bench, {
      name = "tiny", dim = 2, loss = "mse", lr = 0.01, lookups = 10,
      tables = { 4, 3, 2 }, bottom = { 4, 3, 2 }, top = { 4, 2, 1 },
      batches = { { 2, 400, "µs" } },
    })
  end,
}
