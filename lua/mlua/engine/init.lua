--- Other weights to begin with: of a run, or of a safetensors file; some of them, under other
-- names, and layers that stay as they are.
-- @module mlua.engine.init
local check = require "mlua.check"
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local files = require "mlua.ffi.files"
local text = require "mlua.text"

local M = {}

--- The file of weights that a path means: itself, or the newest whole checkpoint of a run's folder.
-- @tparam string path
-- @treturn ?string  nil and a message
function M.find(path)
  local kind, why = files.look(path)
  if kind == "file" then return path end
  if kind ~= "folder" then
    return nil, kind == false and path .. ": no such file or run" or why
  end
  if files.look(path .. "/checkpoints") ~= "folder" then
    return nil, path .. ": no run: it has no checkpoints"
  end
  local all
  all, why = require "mlua.checkpoint".open(path .. "/checkpoints")
  if not all then return nil, why end
  local damage
  local found = all:newest(function(line) damage = damage or line end)
  if not found then return nil, damage or path .. ": it has no checkpoint yet" end
  return found.path
end

-- Names without what checkpoints put before those of the model.
local function of_model(tensors)
  local state, any = {}, false
  for name, t in pairs(tensors) do
    local own = name:match "^model%.(.+)$"
    if own then state[own], any = t, true end
  end
  return any and state or tensors
end

-- A pattern of Lua's, or the end with what is wrong with it.
local function checked(option, pattern, replacement)
  local ok, why = pcall(string.gsub, "", pattern, replacement or "")
  if not ok then fail.run("%s: '%s': %s", option, pattern, why:gsub("^[^:]*:%d+: ", "")) end
  return pattern
end

local function renamed(state, rename)
  local list = {}
  for _, pair in ipairs(rename or {}) do
    local any = false
    checked("rename", pair[1], pair[2])
    for name in pairs(state) do any = any or name:find(pair[1]) end
    if not any then return nil, ("rename: no tensor is called like '%s'"):format(pair[1]) end
  end
  for name, t in pairs(state) do
    local new = name
    for _, pair in ipairs(rename or {}) do new = new:gsub(pair[1], pair[2]) end
    if list[new] then return nil, ("two tensors are renamed to '%s'"):format(new) end
    list[new] = t
  end
  return list
end

--- Copy weights into a model.
-- @tparam Module model
-- @tparam string path       of `find`
-- @tparam ?table o          rename, a list of { pattern, replacement }, as string.gsub takes
--   them; partial: those that fit, and at least one, are copied; else all have to be there; freeze,
--   a list of patterns of names that training leaves as they are
-- @treturn {string,...}     what was copied, sorted
-- @raise a user's mistake
function M.load(model, path, o)
  o = check.options(o, { rename = "table", partial = "boolean", freeze = "table" }, 3, "init")
  local tensors = fail.assert(require "mlua.safetensors".load(path))
  local state = fail.assert(renamed(of_model(tensors), o.rename))
  local own, copied = model:state(), {}
  if o.partial then
    local fitting = {}
    for name, t in pairs(own) do
      local given = state[name]
      local fits = given
        and table.concat(given:shape(), ",") == table.concat(t:shape(), ",")
      fitting[name] = fits and given or t
      if fits then copied[#copied + 1] = name end
    end
    if not copied[1] then fail.run("%s: none of its tensors fits the model", path) end
    state = fitting
  else
    copied = text.keys(own)
  end
  local ok, why = model:load_state(state)
  if not ok then fail.run("%s: %s", path, why) end
  M.freeze(model, o.freeze)
  table.sort(copied)
  return copied
end

--- Leave parameters out of training: before the optimiser is made.
-- @tparam Module model
-- @tparam {string,...} patterns  of dotted names
function M.freeze(model, patterns)
  for _, pattern in ipairs(patterns or {}) do
    local any = false
    checked("freeze", pattern)
    for _, p in ipairs(model:named_parameters()) do
      if p.name:find(pattern) then
        any = true
        p.tensor:requires_grad(false)
      end
    end
    if not any then fail.run("freeze: no parameter is called like '%s'", pattern) end
  end
  if not (patterns and patterns[1]) then return end
  for _, p in ipairs(model:named_parameters()) do
    if core.info(p.tensor).requires_grad then return end
  end
  fail.run "freeze: no parameter is left to train"
end

-- -- at the shell ------------------------------------------------------------------------------

--- Parameters for a task that may begin with other weights; `M.begin` does what they say.
-- @treturn table  name → parameter, for a group
function M.params()
  local param = require "mlua.param"
  return {
    init = param.weights { doc = "begin with the weights of a run or file: always a new run" },
    init_partial = param.bool { doc = "those of its weights that fit; else all have to be there" },
    init_rename = param.strings { {}, meta = "OLD=NEW,…",
      doc = "its names are changed, as by string.gsub" },
    freeze = param.strings { {}, meta = "PATTERN,…",
      doc = "parameters that stay as they are, by Lua patterns of their names" },
  }
end

--- Begin as a task's parameters say: before the optimiser is made. Each is given by itself: of a
-- whole task all parameters would count.
-- @tparam Module model
-- @tparam table o  init, partial, rename, freeze: values of `params`
function M.begin(model, o)
  o = check.options(o, { init = "string", partial = "boolean", rename = "table",
    freeze = "table" }, 2, "begin")
  local rename = {}
  for i, text_of in ipairs(o.rename or {}) do
    local old, new = text_of:match "^(.-)=(.*)$"
    if not old or old == "" then fail.run("init_rename: expected OLD=NEW, got '%s'", text_of) end
    rename[i] = { old, new }
  end
  if o.init then
    M.load(model, o.init, { rename = rename, partial = o.partial, freeze = o.freeze })
  elseif rename[1] or o.partial then
    fail.run "init_rename, init_partial: take effect with init only"
  else
    M.freeze(model, o.freeze)
  end
end

return M
