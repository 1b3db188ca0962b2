local files = require "spec.support.files"
local process = require "spec.support.process"

describe("tools/lint", function()
  local folder

  before_each(function()
    folder = files.folder()
    for _, path in ipairs { "tools", "core/base", "core/tensor", "core/host", "core/include",
      "lua/mlua/ffi", "recipes" } do
      os.execute("mkdir -p " .. folder .. "/" .. path)
    end
    files.write(folder .. "/tools/lint", files.read("tools/lint"))
  end)
  after_each(function() files.remove(folder) end)

  --- What lint says of these files, by path, in one part.
  local function lint(part, tree)
    for path, text in pairs(tree) do files.write(folder .. "/" .. path, text) end
    local got = process.run { "luajit", folder .. "/tools/lint", part }
    assert.equal("", got.err)
    assert.equal(got.out == "" and 0 or 1, got.status)
    return got.out
  end

  it("finds C that reaches up a floor, and lets it reach down", function()
    assert.equal("", lint("floors", {
      ["core/base/a.h"] = "\n", ["core/tensor/t.h"] = '#include "a.h"\n#include "mlua.h"\n',
    }))
    assert.equal("core/base/b.c:2: core/base (floor 1) includes tensor/t.h (floor 2)\n",
      lint("floors", { ["core/base/b.c"] = '\n#include "tensor/t.h"\n' }))
  end)

  it("keeps Lua out of the core, and the core out of the host", function()
    assert.equal("core/base/a.c:1: only core/host knows Lua, and this includes lua.h\n"
      .. "core/host/h.c:1: the host program uses nothing of core, and this includes base.h\n",
      lint("floors", {
        ["core/base/a.c"] = "#include <lua.h>\n", ["core/base/base.h"] = "\n",
        ["core/host/h.c"] = '#include "base.h"\n#include <lua.h>\n',
      }))
  end)

  it("finds Lua that reaches up a floor, but not in comments", function()
    assert.equal('lua/mlua/nn.lua:5: nn (floor 3) requires "mlua.task" (floor 4)\n',
      lint("floors", { ["lua/mlua/nn.lua"] = '-- require "mlua.ui"\n--[[\nrequire "mlua.ui"\n]]\n'
        .. 'local task = require("mlua.task")\nlocal op = require "mlua.op"\n' }))
  end)

  it("lets only lua/mlua/ffi require ffi", function()
    assert.equal('lua/mlua/nn.lua:1: only lua/mlua/ffi may require "ffi"\n', lint("floors", {
      ["lua/mlua/nn.lua"] = "local ok, ffi = pcall(require, 'ffi')\n",
      ["lua/mlua/ffi/init.lua"] = 'local ffi = require "ffi"\n',
    }))
  end)

  it("lets recipes use public modules alone", function()
    assert.equal('recipes/r.lua:2: a recipe uses public modules alone, and this requires "lfs"\n'
      .. 'recipes/r.lua:3: a recipe uses public modules alone, and this requires "mlua.ffi"\n',
      lint("floors", { ["recipes/r.lua"] =
        'local ml = require "mlua"\nlocal lfs = require "lfs"\nlocal f = require "mlua.ffi"\n' }))
  end)

  it("wants every module named on a floor", function()
    assert.equal("lua/mlua/novel.lua:1: mlua.novel stands on no floor: name it in tools/lint\n",
      lint("floors", { ["lua/mlua/novel.lua"] = "return {}\n" }))
  end)

  it("finds long files and long lines of C", function()
    assert.equal("core/base/a.c:1: 101 columns, at most 100\n"
      .. "lua/mlua/op.lua:601: 601 lines, at most 600\n",
      lint("length", {
        ["core/base/a.c"] = "/*" .. ("é"):rep(97) .. "*/\n" .. "/*" .. ("é"):rep(96) .. "*/\n",
        ["lua/mlua/op.lua"] = ("-- x\n"):rep(601),
      }))
  end)

  it("names a part that does not exist", function()
    local got = process.run { "luajit", folder .. "/tools/lint", "flors" }
    assert.equal(2, got.status)
    assert.truthy(got.err:match("^lint: no such part: flors %(floors, style, format, length"))
  end)
end)
