-- Rows of several files, one after another or joined by a key; columns.
local columns = require "mlua.data.columns"
local files = require "spec.support.files"
local rows = require "mlua.data.rows"

local folder
setup(function() folder = files.folder() end)
teardown(function() files.remove(folder) end)

local function file(name, text)
  files.write(folder .. "/" .. name, text)
  return folder .. "/" .. name
end

local function mistake(...)
  local got, message = rows.load(...)
  assert.is_nil(got)
  return (message:gsub(folder .. "/", ""))
end

describe("rows of files", function()
  it("stand one after another, columns by their names", function()
    local a, b = file("a.csv", "x,color\n1,red\n2,blue\n"), file("b.csv", "color,x\ngreen,3\n")
    assert.same({ columns = { "x", "color" }, { 1, "red" }, { 2, "blue" }, { 3, "green" } },
      rows.load { a, b })
    assert.same({ columns = { "x", "color" }, { 1, "red" }, { 2, "blue" } }, rows.load(a))
    assert.equal("c.csv: no column 'color', which a.csv has, did you mean 'colour'?",
      mistake { a, file("c.csv", "x,colour\n4,red\n") })
    assert.equal("d.csv: column 'y', which a.csv has not",
      mistake { a, file("d.csv", "x,color,y\n4,red,1\n") })
    assert.equal("gone.csv: No such file or directory", mistake { a, folder .. "/gone.csv" })
    assert.equal("e.csv: no line with the names of columns", mistake { file("e.csv", "") })
  end)

  it("are joined by a key, in the order of the first, with what is missing counted", function()
    local a = file("ages.csv", "id,age\n3,30\n1,10\n2,20\n7,70\n")
    local b = file("sizes.csv", 'size,id\n5,"1"\n6,2\n7,3\n8,4\n9,5\n')
    local c = file("names.csv", "id,name\n3,cat\n2,dog\n1,eel\n")
    assert.same({ columns = { "id", "age", "size", "name" }, dropped = { 1, 2, 0 },
      { 3, 30, 7, "cat" }, { 1, 10, 5, "eel" }, { 2, 20, 6, "dog" } },
      rows.load({ a, b, c }, { key = "id" }))
  end)

  it("refuse a key that comes twice, by file and line, and a column that is in two files",
    function()
      local a = file("a.csv", "id,x\n1,1\n2,2\n")
      assert.equal("twice.csv: line 6: the key '2' is in line 4, too", mistake({ a,
        file("twice.csv", 'id,y\n1,"two\nlines"\n2,3\n\n2,4\n') }, { key = "id" }))
      assert.equal("column 'x' is in both a.csv and same.csv",
        mistake({ a, file("same.csv", "id,x\n1,1\n") }, { key = "id" }))
      assert.equal("other.csv: no column 'id', did you mean 'ID'?",
        mistake({ a, file("other.csv", "ID,y\n1,1\n") }, { key = "id" }))
      assert.equal("own.csv: two columns 'y'",
        mistake({ a, file("own.csv", "id,y,y\n1,1,1\n") }, { key = "id" }))
    end)
end)

describe("rows that cannot be put together", function()
  it("have a column's name wrong: those that there are are told", function()
    local a = file("few.csv", "id,age\n1,2\n")
    assert.equal("few.csv: no column 'rich'; there are id and age",
      mistake({ a, a }, { key = "rich" }))
    local names = {}
    for i = 1, 13 do names[i] = "c" .. i end
    assert.equal("no column 'rich'; there are c1, c2, c3, c4, c5, c6, c7, c8, c9, c10 and 3 more",
      columns.absent("rich", names))
    assert.equal("no column 'rich'; there is a", columns.absent("rich", { "a" }))
    assert.equal("no column 'aeg', did you mean 'age'?", columns.absent("aeg", { "id", "age" }))
    local ok, e = pcall(columns.find, columns.of { columns = { "id", "age" } }, "rich", "few.csv")
    assert.is_false(ok)
    assert.equal("few.csv: no column 'rich'; there are id and age", e.user_error)
  end)

  it("are separated by something else than commas, which is named", function()
    assert.equal("semi.csv: its columns are separated by ';'; expected commas",
      mistake(file("semi.csv", "age;rich\n1;2\n")))
    assert.equal("decimal.csv: its columns are separated by ';'; expected commas",
      mistake(file("decimal.csv", "age;rich\n1,5;2\n"))) -- which would be two fields
    assert.equal("tabs.csv: its columns are separated by tabs; expected commas",
      mistake(file("tabs.csv", "age\trich\r\n1\t2\r\n")))
    assert.same({ "a;b", "c" }, rows.load(file("both.csv", "a;b,c\n1,2\n")).columns)
    assert.same({ "a;b" }, rows.load(file("named.csv", '"a;b"\n1\n')).columns)
  end)

  it("have two columns of one name, be it in one file alone", function()
    assert.equal("own.csv: two columns 'y'", mistake(file("own.csv", "x,y,y\n1,1,1\n")))
  end)

  it("have keys that never match: the file without any of the first's is named", function()
    local a, b = file("a.csv", "id,x\n1,1\n2,2\n"), file("b.csv", "id,y\na1,1\na2,2\n")
    local c, d = file("c.csv", "id,z\n1,1\n"), file("d.csv", "id,u\n2,2\n")
    local none = file("none.csv", "id,v\n")
    assert.equal("no 'id' of a.csv is in b.csv: the first are 1 and 'a1'",
      mistake({ a, c, b }, { key = "id" }))
    assert.equal("no 'id' of a.csv is in all of the other files",
      mistake({ a, c, d }, { key = "id" }))
    assert.equal("none.csv: no rows", mistake({ a, none }, { key = "id" }))
  end)
end)

describe("columns", function()
  local function of(values)
    local list = {}
    for i, value in ipairs(values) do list[i] = { value } end
    return columns.of({ columns = { "c" }, unpack(list) }).by.c
  end

  it("are of numbers where all of their values are finite", function()
    assert.is_true(of({ 1, 2.5 }).numbers)
    assert.is_false(of({ 1, "x" }).numbers)
    assert.is_false(of({ 1, 0 / 0 }).numbers)
    assert.is_false(of({ 1, math.huge }).numbers)
  end)

  it("have words in one order: numbers by size, then text", function()
    assert.same({ "9", "10", "0x", "1a", "nan" }, (columns.words { "1a", "nan", 10, "0x", "9", 9 }))
    local _, at = columns.words { "b", "a", "b" }
    assert.same({ a = 1, b = 2 }, at)
    assert.same({ "0", "123456789012345" }, (columns.words { 123456789012345, 0, tonumber "-0" }))
  end)

  it("have groups: the positions of each word", function()
    assert.same({ { { 2 }, { 1, 3 } }, { "1", "x" } }, { columns.groups { "x", 1, "x" } })
    assert.same({ { { 3 } }, { "x" } }, { columns.groups({ "x", 1, "x" }, { 3 }) })
  end)

  it("become inputs: standardised over the training rows, or one for each word", function()
    local list = columns.of { columns = { "x", "color", "same", "y" },
      { 1, "red", 5, 0 }, { 3, "blue", 5, 0 }, { 7, "red", 5, 0 } }
    local inputs, names = columns.inputs(list, { 1, 2 }, { [list.by.y] = true })
    assert.same({ "x", "color=blue", "color=red", "same" }, names)
    assert.same({ { -1, 1, 5 }, { 0, 1, 0 }, { 1, 0, 1 }, { 0, 0, 0 } }, inputs)
  end)
end)
