--- DLRM's training step with the Criteo Kaggle model: f32, SGD, every step another batch.
return {
  doc = "DLRM training step, Kaggle model (33.8 M rows x 16), f32, SGD, at batch 2, 128 and 2048",
  run = function(bench)
    require("frame.dlrm_step").run(bench, {
      name = "dlrm", dim = 16, loss = "bce", lr = 0.1,
      tables = { 1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194,
        27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572 },
      bottom = { 13, 512, 256, 64, 16 }, top = { 512, 256, 1 },
      batches = { { 2, 400, "ms" }, { 128, 50, "ms" }, { 2048, 8, "ms" } },
    })
  end,
}
