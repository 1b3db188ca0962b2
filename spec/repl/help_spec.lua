local files = require "spec.support.files"
local help = require "mlua.repl.help"
local ml = require "mlua"

describe("? name", function()
  local names = { "ml", "nn", "optim", "spec_x", "spec_f" }
  local before = {}

  setup(function()
    for _, name in ipairs(names) do before[name] = rawget(_G, name) end
    rawset(_G, "ml", ml)
    rawset(_G, "nn", ml.nn)
    rawset(_G, "optim", ml.optim)
    rawset(_G, "spec_x", ml.ones(2, 3))
  end)
  teardown(function()
    for _, name in ipairs(names) do rawset(_G, name, before[name]) end
  end)

  -- A page with its runs of blanks as one.
  local function page(name) return (assert(help(name)):gsub(" +", " ")) end

  local function has(name, ...)
    local text = page(name)
    for _, part in ipairs { ... } do
      assert.truthy(text:find(part, 1, true), ("%q is not in\n%s"):format(part, text))
    end
  end

  it("shows an operation from its card: dtypes, shapes, defaults, choices", function()
    has("ml.linear", "ml.linear(x, w, b, act) mlua/ffi/ops.lua:",
      "\n y = act(x w' + b): a fully connected layer with its activation.\n",
      "\n x Tensor, f64 f32", ", [B, K]\n", "\n w Tensor, as `x`, [N, K]\n",
      "\n b Tensor, as `x`, [N]; optional\n",
      "\n act string, none, relu, sigmoid; default none\n",
      "\n returns Tensor, dtype as `x`; [B, N]")
    has("ml.argmax", "; no gradient")
  end)

  it("shows a Lua function from its comment: parameters, what is raised, source", function()
    has("ml.scope", "ml.scope(fn, ...) mlua/ffi/init.lua:", "\n Run a function; the tensors it",
      "\n fn function\n", "\n ... for fn\n", "\n returns what fn returns")
    has("ml.print_options", "\n raises on an unknown option")
    has("optim.adam", "optim.adam(model, o) mlua/optim.lua:", "\n source Kingma & Ba 2015")
  end)

  it("shows a method of a tensor, with the arguments of its operation", function()
    has("spec_x:sum", "spec_x:sum(axis, keep)", "The sum over an axis",
      "\n axis number, whole; default 0\n")
    has("spec_x:add", "y = a + b.")
    has("spec_x:add_", "\n In place, as ml.into(self, ml.add, self, …) does it:\n y = a + b.")
    has("tensor:addmm", "tensor:addmm(c, a, b", "mlua/tensor/product.lua:")
    has("tensor:reshape", "tensor:reshape(...) mlua/tensor/view.lua:")
    has("spec_x", "spec_x: a tensor, [f32 2×3 cpu]", " requires_grad")
  end)

  it("shows a class by its constructor, its call and its methods", function()
    has("nn.Linear", "nn.Linear.new(o) mlua/nn/linear.lua:", "nn.Linear:forward(x)",
      "\n returns Tensor, [", " named_parameters ")
  end)

  it("shows a module by its comment and a sentence for each function", function()
    has("optim", "optim module mlua.optim\n Optimisers, learning-rate schedules",
      "\n optim.clip_grad_norm(params, max_norm, p)\n Scale the gradients",
      "\n optim.sgd(model, o)\n Stochastic gradient descent.")
    has("nn", "\n nn.MLP.new(o)\n A chain of Linear layers")
  end)

  it("finds a bare name in ml, among the methods of tensors, in nn and optim", function()
    has("softmax", "ml.softmax(x, axis)")
    has("totable", "tensor:totable()")
    has("MLP", "nn.MLP.new(o)")
    has("adamw", "optim.adamw(model, o)")
  end)

  it("shows a user's function from a file, with what its comment says", function()
    local folder = files.folder()
    local path = files.write(folder .. "/f.lua", [[
--- Twice a number,
-- or more.
-- @tparam[opt=2] number n
-- @treturn number  the product
-- @see other
function spec_f(x,
                n)
  return x * n
end
local function bare(a) return a end
return bare]])
    local bare = dofile(path)
    assert.equal("spec_f(x, n) " .. path .. ":6\n Twice a number,\n or more.\n\n" ..
      " n number; default 2\n returns number, the product\n see other", page("spec_f"))
    rawset(_G, "spec_f", bare)
    assert.equal("spec_f(a) " .. path .. ":10\n It has no documentation: comment lines above " ..
      "would be, the first with ---.", page("spec_f"))
    files.remove(folder)
    has("spec_f", "It has no documentation") -- nor has it a file any more
  end)

  it("names the manual for Lua's own functions", function()
    assert.equal("string.format: a built-in function of Lua\n" ..
      " https://www.lua.org/manual/5.1/manual.html#pdf-string.format", page("string.format"))
  end)

  it("says what a value is that is no function", function()
    rawset(_G, "spec_f", 42)
    assert.equal("spec_f: a number, 42", page("spec_f"))
    has("_VERSION", '_VERSION: a string, "Lua 5.1"')
  end)

  it("says which name may have been meant", function()
    local function why(name) return select(2, help(name)) end
    assert.equal("no ml.sofmax, did you mean 'ml.softmax'?", why("ml.sofmax"))
    assert.equal("no spec_x:reshap, did you mean 'spec_x:reshape'?", why("spec_x:reshap"))
    assert.equal("no tensor:reshap, did you mean 'tensor:reshape'?", why("tensor:reshap"))
    assert.equal("no softmx, did you mean 'softmax'?", why("softmx"))
    assert.equal("no qqqqqq", why("qqqqqq"))
    assert.equal("expected a name, as in `? ml.scope`, got 1 + 1", why("1 + 1"))
  end)

  it("has a page for every operation and every method of tensors", function()
    for name in pairs(ml.op) do has("ml.op." .. name, "mlua/ffi/ops.lua:", "\n returns Tensor") end
    for name in pairs(require("mlua.tensor").Tensor) do
      assert.falsy(page("tensor:" .. name):find("no documentation", 1, true), name)
    end
  end)
end)
