--- What makes a result the one it is: SHA-256 over the task's name, the digest of its code, the
-- parameters that count, the contents of its files, what its inputs hold, and mlua's version.
--
-- A task's own significant parameters count, and of the inherited ones those that its run function
-- reads: what only the tasks below it use reaches it through their outputs, and if these come out
-- equal it need not run.
-- @module mlua.task.identity
local code = require "mlua.code"
local core = require "mlua.ffi"
local fail = require "mlua.fail"
local hash = require "mlua.ffi.hash"
local node_module = require "mlua.task.node"

local M = {}

local value_text = node_module.value_text
local concat = table.concat

local VERSION = "mlua " .. core.version() .. ", " .. jit.version

local HARMLESS = { save = true, path = true, note = true } -- methods that read no parameters

-- The digest of a task's function, joined by those of the formats that its outputs name: what these
-- write changes what the result is.
local function digest_of(class, f)
  local whole = code.digest(f, class.name .. ".run")
  local texts, parts, notes = { whole.digest }, { unpack(whole.parts) }, { unpack(whole.notes) }
  local formats = package.loaded["mlua.format"] -- none of one's own before it is loaded
  for _, output in ipairs(class.outputs) do
    texts[#texts + 1] = output[1] .. ":" .. (output[2] or "")
    for _, format in ipairs(formats and formats.own(output[2]) or {}) do
      local own = format.writes and code.digest(format.writes, "format " .. format.name)
      for _, part in ipairs(own and own.parts or {}) do parts[#parts + 1] = part end
      for _, note in ipairs(own and own.notes or {}) do notes[#notes + 1] = note end
      texts[#texts + 1] = own and own.digest or format.name
    end
  end
  return { digest = hash.sha256(concat(texts, "\n")), parts = parts, notes = notes }
end

-- Whether any of those that declare a parameter say that it counts.
local function significant(entry)
  for _, p in ipairs(entry.also or {}) do
    if p.significant then return true end
  end
  return entry.param.significant
end

-- Digest of the task's code, its parts and notes; the parameters that count.
local function facts_of(class)
  if class.facts and class.facts.round == node_module.round then return class.facts end
  local f = class.body or class.external
  local digest = digest_of(class, f)
  local reads = code.reads(f, 1, HARMLESS) -- nil: who knows
  local counted = {}
  for _, entry in ipairs(class:parameters().list) do
    if significant(entry) and (entry.own or not reads or reads[entry.name]
      or reads[entry.name:match "^[^.]+"]) then
      counted[#counted + 1] = entry
    end
  end
  class.facts = {
    digest = digest.digest, parts = digest.parts, notes = digest.notes, counted = counted,
    head = concat({ VERSION, class.name, digest.digest, -- and ml.seed's, for draws that name none
                    tostring(core.C.ml_seed_set()) }, "\n"), round = node_module.round,
  }
  return class.facts
end
M.facts_of = facts_of

-- A file's contents, or the word that stands in its place.
local function file_text(entry, path, store, node)
  for _, literal in ipairs(entry.param.literals or {}) do
    if path == literal then return path end
  end
  local digest, why = store:file_digest(path)
  if not digest then fail.usage("%s: %s: %s", node._task.name, entry.name, why) end
  return "sha256 " .. digest
end

-- The contents of files that options of parts name, and of parts within, one after the other.
local function add_files(texts, parts, store, node)
  for _, part in ipairs(parts.options and { parts } or parts) do
    for _, entry in ipairs(part.component.spec.list) do
      local value = rawget(part.options, entry.name)
      if value ~= nil and entry.param.registry then
        add_files(texts, value, store, node)
      elseif value ~= nil and entry.param.significant and entry.param.kind.contents then
        texts[#texts + 1] = M.counted_text(entry, value, store, node)
      end
    end
  end
end

--- A parameter's value as it counts: of files, the digests of their contents, also of those that
-- options of parts name.
-- @tparam table entry
-- @param value
-- @tparam Store store
-- @tparam Node node  for messages
-- @treturn string
local function counted_text(entry, value, store, node)
  if value ~= nil and entry.param.kind.contents then
    local texts = {}
    for i, path in ipairs(type(value) == "table" and value or { value }) do
      texts[i] = file_text(entry, path, store, node)
    end
    return concat(texts, "\n")
  elseif value ~= nil and entry.param.registry then
    local texts = { value_text(value) }
    add_files(texts, value, store, node)
    return concat(texts, "\n")
  end
  return type(value) == "string" and value or value_text(value)
end
M.counted_text = counted_text

local buffer = {}

--- The identity of a node whose inputs are known.
-- @tparam Node node
-- @tparam {string,...} inputs  for each of its edges, the outputs as text
-- @tparam Store store
-- @treturn string  64 hexadecimal digits
function M.of(node, inputs, store)
  local facts, n = facts_of(node._task), 1
  local counted, values = facts.counted, node._values
  buffer[1] = facts.head
  for i = 1, #counted do
    local entry = counted[i]
    local given = values[entry.name]
    local value = counted_text(entry, given, store, node)
    buffer[n + 1], buffer[n + 2], buffer[n + 3] = entry.name, given == nil and "-" or #value, value
    n = n + 3
  end
  local edges = node._inputs
  buffer[n + 1] = node._shape
  n = n + 1
  for i = 1, #edges do
    local single = edges[i].node._task.outputs.single
    buffer[n + 1], buffer[n + 2] = edges[i].key, single and "=" or "."
    buffer[n + 3] = inputs[i]
    n = n + 3
  end
  return hash.lines(buffer, n)
end

return M
