-- What holds for any configuration: resolved, printed and resolved again it is the same; it does
-- not differ from itself; differences turn round, and lead from one to the other.
local diff = require "mlua.config.diff"
local files = require "spec.support.files"
local json = require "mlua.json"
local ml = require "mlua"
local print_values = require "mlua.config.print".values
local spec_module = require "mlua.param.spec"
local param, registry = ml.param, ml.registry

local folder, path

setup(function()
  folder = files.folder()
  path = folder .. "/x.yaml"
end)
teardown(function() files.remove(folder) end)

registry.new("gear", "gears", "of this spec")
registry.register("gear", "wheel", {
  teeth = param.int { 8, min = 1 }, name = param.string { "" }, sizes = param.numbers { {} },
  on = param.bool {},
}, function(o) return o end)
registry.register("gear", "train", {
  first = param.gear { "wheel" }, all = param.gears { {} }, ratio = param.number { 1, above = 0 },
}, function(o) return o end)

local function spec()
  return param.spec {
    batch = param.int { 8, min = 1 }, lr = param.number { 0.1 }, name = param.string { "x" },
    shuffle = param.bool { true }, top = param.ints { { 4, 2 } }, tags = param.strings { {} },
    loss = param.choice { "bce", "mse" }, day = param.date {}, main = param.gear { "wheel" },
    more = param.gears { {} }, data = { rows = param.int { 3 }, deep = { x = param.number {} } },
  }
end

-- -- random values ------------------------------------------------------------------------------

local state
local function random(n) -- 1 to n
  state = state * 16807 % 2147483647
  return state % n + 1
end

local STRINGS = { "", "a", "no", "null", "~", "1e3", "a, b", "${batch}", "$${x}", "it's",
                  "tab\there",
                  "line\nbreak", " led", "# no comment", "{type: x}", "[1]", "ä → ö", "-",
                  "a: b", "back\\slash", "\"quoted\"", "%", "yes", "2026-11-21", "*a", "&a",
                  "!tag", "\127" }
local NUMBERS = { 0, 1, -1, 0.1, 1e-30, 1e300, 2 ^ 53, 1 / 3, -2.5, 123456789012 }

local function any(list) return list[random(#list)] end

local function gear(depth)
  if depth > 2 or random(3) > 1 then
    return { type = "wheel", teeth = random(3) > 1 and random(99) or nil,
             name = random(2) == 1 and any(STRINGS) or nil, on = random(2) == 1 or nil,
             sizes = random(3) == 1 and { any(NUMBERS), any(NUMBERS) } or nil }
  end
  local all = {}
  for i = 1, random(3) - 1 do all[i] = gear(depth + 1) end
  return { type = "train", first = random(2) == 1 and gear(depth + 1) or nil, all = all,
           ratio = random(2) == 1 and random(9) / 7 or nil }
end

local function values()
  local o = spec():defaults()
  local function maybe(name, value) if random(2) == 1 then assert(param.set(o, name, value)) end end
  maybe("batch", random(1000))
  maybe("lr", any(NUMBERS))
  maybe("name", any(STRINGS))
  maybe("shuffle", random(2) == 1)
  maybe("top", random(4) == 1 and {} or { random(9), random(9), random(9) })
  maybe("tags", random(4) == 1 and {} or { any(STRINGS), any(STRINGS) })
  maybe("loss", any { "bce", "mse" })
  maybe("day", any { "2026-11-21", "2024-02-29" })
  maybe("main", gear(0))
  maybe("more", { gear(0), gear(1) })
  maybe("data.rows", any { 0, -3, 7 })
  maybe("data.deep.x", any(NUMBERS))
  return o
end

local function resolved(text)
  files.write(path, text)
  local o, message = spec():read { "--config", path }
  assert(o, tostring(message) .. "\n" .. text)
  return o
end

-- As text, origins apart.
local function told(o) return json.encode(spec_module.tree(o)) end
local function printed(o) return print_values(spec(), o) end

describe("any configuration", function()
  local all = {}
  setup(function()
    state = 20261122
    for i = 1, 200 do all[i] = values() end
  end)

  it("resolved, printed and resolved again is the same", function()
    for _, o in ipairs(all) do
      local text = printed(o)
      local again = resolved(text)
      assert.equal(told(o), told(again), text)
      local function plain(s) return (s:gsub(" +# [^\n]*", "")) end
      assert.equal(plain(text), plain(printed(again)))
    end
  end)

  it("as text of one option is the same, too", function()
    for _, o in ipairs(all) do
      local again, message = spec():read { "--main", tostring(o.main) }
      assert.truthy(again, message)
      assert.equal(json.encode(o.main), json.encode(again.main))
    end
  end)

  it("does not differ from itself; differences turn round, and lead to the other", function()
    local ALL, found = { ignore = {} }, 0
    for i, o in ipairs(all) do
      local a = spec_module.tree(o)
      local b = spec_module.tree(all[i % #all + 1])
      assert.is_true(diff.empty(diff.of(a, a, ALL)))
      local forth, back = diff.of(a, b, ALL), diff.of(b, a, ALL)
      assert.same(back, diff.invert(forth))
      assert.is_true(diff.empty(diff.of(diff.apply(a, forth), b, ALL)))
      if not diff.empty(forth) then found = found + 1 end
    end
    assert.is_true(found > 150)
  end)

  it("does not differ from what is printed of it", function()
    for _, o in ipairs(all) do
      local again = resolved(printed(o))
      assert.is_true(diff.empty(diff.of(spec_module.tree(o), spec_module.tree(again),
        { ignore = {} })))
    end
  end)
end)
