--- Configuration files: values for the parameters of a spec, with the lines they came from.
--
--     # big.yaml                       mlua recipe.lua --config big.yaml --lr 0.2
--     recipe: recipe.lua               which it is for, beside the file
--     macros: {wide: 1024}             names for values, used as ${wide}
--     models:                          parts under names of their own, used or not
--       deep: {type: mlp, widths: [64, 64]}
--     lr: 0.05
--     top: ['${wide}', 512]            a list, or the text that the option takes: 1024-512
--     steps: ${batch}                  the value of another key, wherever that was given
--     model: deep                      a part; or {type: deep, activation: tanh}: with changes
--     Clicks:                          a section: the option --Clicks.seed
--       seed: 3
--     grid: {lr: [0.05, 0.1]}          a run for each of all combinations
--     variants: {small: {top: [8]}}    and for each of these
--
-- A file that ends in .lua holds the same as a table: { lr = 0.05, Clicks = { seed = 3 } }; it is
-- read, not run. A key is an option's name, or another spelling of it; a section joins names by
-- dots. A value is read by its parameter, which alone knows its type. All mistakes are told at
-- once, each with its file, line and key.
-- @module mlua.config
local files = require "mlua.ffi.files"

-- What a script uses of it: mlua.config.diff and so on.
local M = setmetatable({}, {
  __index = function(_, name)
    if name == "diff" or name == "print" or name == "resolve" or name == "schema" then
      return require("mlua.config." .. name)
    end
  end,
})

local LARGEST = 2 ^ 22 -- bytes of a file

-- -- reading -----------------------------------------------------------------------------------

--- Read a file.
-- @tparam string path
-- @treturn ?table  a node, as mlua.config.yaml describes it; nil where there are mistakes
-- @treturn {string,...}  or else all mistakes, as "FILE:LINE: …"
function M.read(path)
  local kind, size = files.look(path)
  if kind ~= "file" then
    return nil, { ("%s: %s"):format(path, kind and "not a regular file" or "no such file") }
  elseif size > LARGEST then
    return nil, { ("%s: more than %d MB"):format(path, LARGEST / 2 ^ 20) }
  end
  local file, why = io.open(path, "rb")
  if not file then return nil, { why } end
  local bytes = file:read "*a"
  file:close()
  local reader = path:find "%.lua$" and "literal" or "yaml"
  local root, mistakes = require("mlua.config." .. reader).read(bytes)
  if root then return root end
  for i, mistake in ipairs(mistakes) do
    mistakes[i] = ("%s:%d: %s"):format(path, mistake.line, mistake.message)
  end
  return nil, mistakes
end

-- A text as one value of a file: {…} and […] as YAML has them, else as it is; of a list, words
-- between commas. nil and a list of mistakes.
function M.node_of(written, list)
  if written:find "^%s*[{[]" then
    local root, mistakes = require "mlua.config.yaml".read("value: " .. written)
    if root then return root.by.value.node end
    return nil, { mistakes[1].message }
  end
  local function scalar(s) return { kind = "scalar", text = s, quoted = false } end
  if not list then return scalar(written) end
  local items = {}
  for word in (written .. ","):gmatch "%s*([^,]-)%s*," do
    if word ~= "" then items[#items + 1] = scalar(word) end
  end
  return { kind = "list", items = items }
end

return M
