--- The command line of a spec, and what stands behind it: the project's file and the machine's
-- (mlua.config.project), files that `--config` names, variables of the environment (MLUA_LR for lr,
-- MLUA_MODEL_DIM for model.dim), `--set lr=0.2`, plain options. Of these a later one wins, and a
-- later file. All mistakes of files and variables are told, of the command line the first.
--
-- An option that takes a part (mlua.registry.part) is set before the options of that part, wherever
-- it stands on the line.
-- @module mlua.param.cli
local alias = require "mlua.param.alias"
local spec_module = require "mlua.param.spec"
local text = require "mlua.text"

local M = {}

-- Of options that help does not show, where `hidden`: else of those that it does.
local function spellings(spec, kind, hidden)
  local list = {}
  for _, entry in ipairs(spec.list) do
    local shown = not entry.param.hidden ~= (hidden or false)
    if shown and (not kind or entry.param.kind.name == kind) then
      list[#list + 1] = entry.name:gsub("_", "-")
      for _, name in ipairs(entry.aliases) do list[#list + 1] = name:gsub("_", "-") end
    end
  end
  if not kind and not hidden then
    list[#list + 1] = "help"
    if spec:takes_files() then list[#list + 1] = "set" end
    if spec:takes_files() then list[#list + 1] = "config" end
  end
  return list
end

-- "--bach" may have meant "--batch", "--no-jsn" "--no-json", and "--lr" "--optimizer.lr".
local function unknown(spec, values, word)
  local name = word:gsub("^%-+", "")
  local negated = name:match("^no%-(.+)")
  local hint = spec_module.meant_below(values, name, "--")
  if hint == "" then hint = text.did_you_mean(name, spellings(spec), "--") end
  if hint == "" and negated then
    hint = text.did_you_mean(negated, spellings(spec, "bool"), "--no-")
  end
  if hint == "" then hint = text.did_you_mean(name, spellings(spec, nil, true), "--") end
  return ("unknown option '%s'%s"):format(word, hint)
end

local function is_option(word)
  return word:find("^%-") and word ~= "-" and not word:find("^%-%.?%d")
end

-- The entry that a word names; true as second where the word is --no-flag.
local function find(spec, word)
  if not word:find("^%-%-") then return spec.shorts[word:sub(2)] end
  local name = word:sub(3):gsub("_", "-")
  local entry = spec.flags[name]
  if entry then return entry end
  local negated = name:match("^no%-(.+)")
  entry = negated and spec.flags[negated]
  if entry and entry.param.kind.name == "bool" then return entry, true end
end

-- What should have followed the option: "an integer", "dot or cat", "N,N,…".
local function wanted(entry)
  local p = entry.param
  if entry.convert then return "a value" end
  if p.choices then return text.list(p.choices) end
  return p.length and p.kind.meta or p.kind.one or "a " .. p.kind.name
end

local LINE = "command line"

-- What a command line's aliases stand for is stronger than what is in files.
local function apply_implied(values, implied)
  return alias.apply(values, implied, function(name, source)
    local from = spec_module.origin(values, name)
    if from == "default" or source == LINE and from ~= LINE then return true end
    if (source == LINE) == (from == LINE) then return false end
  end)
end

local function check_arguments(spec, rest)
  local takes = spec.arguments or { min = 0, max = 0 }
  if #rest > (takes.max or math.huge) then
    return ("unexpected argument '%s'"):format(rest[(takes.max or 0) + 1])
  elseif #rest < (takes.min or 0) then
    return ("missing argument %s"):format(takes[#rest + 1] or takes[1] or "")
  end
end

--- The variable of the environment that stands for an option.
-- @tparam string name
-- @treturn string
function M.variable(name) return "MLUA_" .. name:upper():gsub("[.-]", "_") end

local variable_of = M.variable

-- Sets what variables say, for values of a spec and for parts below; the mistakes.
local function read_variables(spec, values, prefix, put, mistakes, given)
  for _, entry in ipairs(spec.list) do
    local name = prefix .. entry.name
    local variable = variable_of(name)
    local written = given[variable]
    if written and written ~= "" then
      local value, problem, ok = nil, "of the command line alone", nil
      if not spec.of_line[name] then
        value, problem = entry.param:read(written, spec_module.before(values, entry))
      end
      if value ~= nil then ok, problem = put(entry, value, variable, written) end
      if ok and entry.param.registry then spec_module.tell(value, variable, written) end
      if not ok then mistakes[#mistakes + 1] = ("%s: %s"):format(variable, problem) end
    end
    local part = entry.param.kind.component == "one" and rawget(values, entry.name)
    if part then
      read_variables(part.component.spec, part.options, name .. ".", function(e, value, from, word)
        spec_module.mark(values, entry.name, from, word)
        return spec_module.take(part.options, e, value, from, word)
      end, mistakes, given)
    end
  end
end

-- Sets what files say, then what variables say. The reading, for what waits for the command line.
local function read_around(spec, values, paths, args, implied)
  local of_project = spec.project
    or spec.script and require "mlua.config.project".files(spec.script) or {}
  local reading, references = nil, false
  for _, word in ipairs(args) do references = references or word:find("${", 1, true) end
  for _, entry in ipairs(spec.list) do
    local written = entry.param.registry and os.getenv(variable_of(entry.name))
    references = references or written and written:find("${", 1, true)
  end
  if paths[1] or of_project[1] or references then
    local files = {}
    for i, path in ipairs(of_project) do files[i] = { path, true } end
    for _, path in ipairs(paths) do files[#files + 1] = { path } end
    reading = require "mlua.config.reading".new(spec, values, implied)
    reading:files(files)
    reading:settle_parts()
  end
  local mistakes = reading and reading.mistakes or {}
  local given = require "mlua.ffi.process".variables "MLUA_"
  if next(given) then
    read_variables(spec, values, "", alias.setter(values, implied), mistakes, given)
  end
  return reading, mistakes
end

-- The arguments without `--config FILE`, with `--set name=value` as `--name=value` before all
-- others (where no option of the spec's is called so); and the files. Or nil, a message.
local function take_around(args, spec)
  local paths, sets, others, i = {}, {}, {}, 1
  while args[i] and args[i] ~= "--" do
    local word = args[i]
    local option, given = word:match "^%-%-(%l+)=(.*)$"
    if option == "set" and spec.flags.set then option = nil end
    if word == "--config" or word == "--set" and not spec.flags.set then
      i = i + 1
      option, given = word:sub(3), args[i]
    end
    if option == "config" then
      if not given or given == "" or is_option(given) then
        return nil, "--config: expected a file"
      end
      paths[#paths + 1] = given
    elseif option == "set" then
      if not (given or ""):find "^%a[%w_.-]*=" then
        return nil, ("--set: expected NAME=VALUE, got %s"):format(given or "nothing")
      end
      sets[#sets + 1] = "--" .. given
    else
      others[#others + 1] = word
    end
    i = i + 1
  end
  for k = i, #args do others[#others + 1] = args[k] end
  for _, word in ipairs(others) do sets[#sets + 1] = word end
  return sets, paths
end

-- Sets the parts that a line names; where one stands for others, all options come after it.
local function take_parts(spec, values, args, said, wrong)
  local i = 1
  while args[i] and args[i] ~= "--" do
    local name, given = args[i]:match("^(%-%-[^=]+)=(.*)$")
    name = name or args[i]
    local entry = name:find "^%-%-" and spec.flags[name:sub(3):gsub("_", "-")]
    if entry and entry.param.registry then
      given = given or args[i + 1]
      if given and not is_option(given) then
        local value, problem = entry.param:read(given, spec_module.before(values, entry))
        if value == nil then
          wrong("%s: %s", name, problem)
        else
          local written = name .. " " .. given
          spec_module.put(values, entry.name, value, LINE, written)
          spec_module.tell(value, LINE, written)
          said[#said + 1] = { entry.name, value, written }
        end
      end
    end
    i = i + 1
  end
end

-- The entry that a word names, also an option of a part; the values that hold it, and the entry of
-- the part. nil and a message.
local function find_in(spec, values, word)
  local entry, negated = find(spec, word)
  if entry then return entry, negated, values end
  local name = word:match "^%-%-(.+)$"
  if not name or not name:find(".", 1, true) then return nil, unknown(spec, values, word) end
  local holder, found, part = spec_module.find(values, name, true)
  if not holder and name:find "^no%-" then
    holder, found, part = spec_module.find(values, name:sub(4), true)
    negated = holder and found.param.kind.name == "bool"
    if not negated then holder = nil end
  end
  if holder then return found, negated, holder, part end
  return nil, found and found:find ":" and "--" .. found or unknown(spec, values, word)
end

-- Sets what one option of a line says; nil and a message where it is wrong. Its value is `given`,
-- or the next word, which `take` gives.
local function take_option(spec, values, name, given, take, said, implied)
  local entry, negated, holder, part = find_in(spec, values, name)
  if not entry then
    take(function(word) return not spec.arguments and not is_option(word) end) -- its value
    return nil, negated
  end
  local p, value = entry.param, nil
  if negated then
    if given then return nil, ("%s: takes no value, got '%s'"):format(name, given) end
    value = false
  elseif p.kind.name == "bool" and not given and not entry.convert then
    given = take(function(word) return not spec.arguments and p:read(word) ~= nil end)
    value = true
    if given then value = p:read(given) end
  else
    if not given then
      local option
      given = take(function(word)
        option = is_option(word) and word
        return not option
      end)
      if given == nil then
        return nil, ("%s: expected %s, got %s"):format(name, wanted(entry),
          option and ("option '%s'"):format(option) or "nothing")
      end
    end
    if entry.convert then
      value = given
    elseif not p.registry or part then
      local why
      value, why = p:read(given, rawget(holder, entry.name))
      if value == nil then return nil, ("%s: %s"):format(name, why) end
    end
  end
  local written = given and name .. " " .. given or name
  local converted, mistake = alias.convert(entry, value, written, implied, LINE)
  if mistake then return nil, ("%s: %s"):format(name, mistake) end
  value = converted
  if value == nil then return true end
  local ok, why = spec_module.take(holder, entry, value, LINE, written)
  if not ok then return nil, ("%s: %s"):format(name, why) end
  if p.registry then spec_module.tell(value, LINE, written) end
  if part then spec_module.mark(values, part, LINE, written) end
  local path = name:gsub(negated and "^%-%-no%-" or "^%-%-", "")
  said[#said + 1] = { part and path or entry.name, value, written }
  return true
end

-- Goes through a line; the arguments that are no options, and whether help was asked for.
local function take_line(spec, values, args, said, implied, wrong)
  local rest, options, i = {}, true, 1
  local function take(fits)
    local word = args[i]
    if word == nil or not fits(word) then return nil end
    i = i + 1
    return word
  end
  while args[i] do
    local word = args[i]
    i = i + 1
    if not options or not is_option(word) then
      rest[#rest + 1] = word
    elseif word == "--" then
      options = false
    elseif word == "-h" or word == "--help" then
      return rest, true
    else
      local name, given = word:match("^(%-%-[^=]+)=(.*)$")
      local ok, problem = take_option(spec, values, name or word, given, take, said, implied)
      if not ok then wrong("%s", problem) end
    end
  end
  return rest
end

--- Read a command line and what stands behind it.
-- @tparam Spec spec
-- @tparam {string,...} args
-- @tparam ?boolean incomplete  required values may be missing
-- @treturn ?Values    nil on a mistake, or for help
-- @return  the arguments that are no options; or all mistakes, a line each; or "help"
-- @treturn ?Reading   of files, where there were some
function M.read(spec, args, incomplete)
  local values, implied, said, problems = spec:defaults(), {}, {}, {}
  local function wrong(format, ...) problems[#problems + 1] = format:format(...) end
  local before = package.loaded["mlua.config.reading"]
  if before then before.close() end -- its names were another line's
  local reading, mistakes
  if spec:takes_files() then
    local others, paths = take_around(args, spec)
    if not others then return nil, paths end
    args = others
    require "mlua.compiler".rarely()
    reading, mistakes = read_around(spec, values, paths, args, implied)
    require "mlua.compiler".usual()
  end
  take_parts(spec, values, args, said, wrong)
  local rest, help = take_line(spec, values, args, said, implied, wrong)
  if help then return nil, "help" end
  local contradiction = apply_implied(values, implied)
  if reading then
    reading:finish()
    -- Again, for aliases that referred to something.
    contradiction = contradiction or apply_implied(values, implied)
    for _, item in ipairs(implied) do
      if item[4] == LINE then said[#said + 1] = { item[1], item[2], item[3] } end
    end
    reading.said = said
    if reading:has_runs() then require "mlua.config.grid".prepare(reading) end
  end
  if contradiction then wrong("%s", contradiction) end
  if not problems[1] then problems[1] = check_arguments(spec, rest) end
  local all = mistakes or {}
  for _, problem in ipairs(problems) do all[#all + 1] = problem end
  if not all[1] and not incomplete then
    for _, name in ipairs(spec_module.missing(values)) do
      all[#all + 1] = ("missing option --%s"):format((name:gsub("_", "-")))
    end
  end
  if all[1] then return nil, table.concat(all, "\n") end
  spec_module.settle_scopes(values)
  return values, rest, reading
end

return M
