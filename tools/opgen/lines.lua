-- lines: collects lines of text. Returns the list, and a function that adds one: put(format, …) as
-- string.format, or put(text, names) with every $name and $(name) replaced.
return function()
  local l = {}
  return l, function(text, first, ...)
    if type(first) == "table" then
      l[#l + 1] = text:gsub("%$%((%a+)%)", first):gsub("%$(%a+)", first)
    else
      l[#l + 1] = string.format(text, first, ...)
    end
  end
end
