--- Methods and functions of tensors that are loaded on first use: by module, their names.
--
-- A method takes the tensor first and is a function of `mlua.tensor` as well.
-- @module mlua.tensor.later
return {
  ["mlua.tensor.arrange"] = {
    methods = "chunk diag diagonal flip masked_fill masked_select one_hot pad repeat_interleave "
      .. "roll split tile tril triu unfold",
    functions = "eye linspace meshgrid stack",
  },
  ["mlua.tensor.conv"] = { methods = "conv conv_transpose" },
  ["mlua.tensor.draw"] = { methods = "bernoulli multinomial", functions = "bernoulli permutation" },
  ["mlua.tensor.order"] = {
    methods = "argsort bincount bucketize histc histogram kthvalue median searchsorted sort topk "
      .. "unique unique_consecutive",
  },
  ["mlua.tensor.pool"] = {
    methods = "adaptive_avg_pool adaptive_max_pool avg_pool max_pool upsample",
  },
  ["mlua.tensor.product"] = {
    methods = "addmm baddbmm bmm cdist cosine_similarity cross dist dot kron mm mv norm normalize "
      .. "outer std trace",
  },
}
