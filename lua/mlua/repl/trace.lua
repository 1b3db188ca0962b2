--- What the prompt says of an error: its message, and the calls of the user's code that led there.
--
-- Frames of mlua's own modules and of the prompt are left out. A mistake that mlua has found at the
-- user's line, an interrupt and a value that is no text come without a traceback, as from scripts.
-- @module mlua.repl.trace
local names = require "mlua.repl.names"

local host = package.loaded["mlua.host"] or {}
local TOP, BOTTOM = 12, 10 -- frames shown of a long traceback

local function function_name(info)
  if info.what == "main" then return "in main chunk" end
  if info.name then return ("in function '%s'"):format(info.name) end
  return ("in function <%s:%d>"):format(info.short_src, info.linedefined)
end

-- The calls down to that of the chunk, a line each.
local function frames(calls, chunk)
  local list = {}
  for _, info in ipairs(calls) do
    if info.what == "C" then -- error and its like, which are not the user's, say nothing
      local name = #list > 0 and info.name
      if name then list[#list + 1] = ("[C]: in function '%s'"):format(name) end
    elseif not names.own_path(info.source) then
      list[#list + 1] = ("%s:%d: %s"):format(info.short_src, info.currentline, function_name(info))
    end
    if info.func == chunk then break end
  end
  return list
end

local function is_mistake(message)
  local said = host.mistake
  return type(said) == "string" and said ~= "" and message:sub(-#said) == said
end

--- The text of an error.
-- @tparam table caught    what mlua.host.trace has made of it: value, and a list of calls
-- @tparam function chunk  the last call that is shown
-- @treturn string
return function(caught, chunk)
  local e = caught.value
  local user_error = type(e) == "table" and rawget(e, "user_error")
  if type(user_error) == "string" then return user_error end
  if type(e) ~= "string" and type(e) ~= "number" then
    local meta = debug.getmetatable(e)
    local ok, text = pcall(tostring, e)
    if type(meta) ~= "table" or not meta.__tostring or not ok then
      return "error: " .. require("mlua.repl.value").show(e)
    end
    e = text
  end
  local message = tostring(e)
  if message:find("interrupted!", 1, true) then
    local frame = frames(caught, chunk)[1]
    return "interrupted" .. (frame and " at " .. frame:match("^(.-:%d+):") or "")
  end
  if is_mistake(message) then return message end
  local list, lines = frames(caught, chunk), { message, "stack traceback:" }
  for i, frame in ipairs(list) do
    local left_out = #list > TOP + BOTTOM and i > TOP and i <= #list - BOTTOM
    if not left_out then lines[#lines + 1] = "\t" .. frame end
    if left_out and i == TOP + 1 then lines[#lines + 1] = "\t..." end
  end
  return #list > 0 and table.concat(lines, "\n") or message
end
