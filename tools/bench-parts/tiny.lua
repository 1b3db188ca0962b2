--- The public DLRM program's own defaults: what a step costs beside its arithmetic.
return {
  doc = "DLRM training step, the public program's default model, batch 2: what dispatch costs",
  run = function(bench)
    require("frame.dlrm_step").run(bench, {
      name = "tiny", dim = 2, loss = "mse", lr = 0.01, lookups = 10,
      tables = { 4, 3, 2 }, bottom = { 4, 3, 2 }, top = { 4, 2, 1 },
      batches = { { 2, 400, "µs" } },
    })
  end,
}
