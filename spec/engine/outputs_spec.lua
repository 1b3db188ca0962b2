-- Outputs of a task in its run's folder: links to what the store has, or copies.
local files = require "spec.support.files"
local lfs = require "lfs"
local outputs = require "mlua.run.outputs"

local folder
before_each(function() folder = files.folder() end)
after_each(function() files.remove(folder) end)

-- A store that has a file and a folder.
local store = {}
function store.path(_, digest) return folder .. "/" .. digest end
function store.folder(_, digest) return folder .. "/" .. digest end

describe("outputs in a run's folder", function()
  before_each(function()
    files.write(folder .. "/aa", "{}")
    lfs.mkdir(folder .. "/bb")
    files.write(folder .. "/bb/inner", "text")
  end)

  it("are links to files, and copies of folders, under their names", function()
    local list = { { name = "metrics", format = "json", digest = "aa" },
                   { name = "pages", format = "folder", digest = "bb" } }
    for _ = 1, 2 do -- again, as a run that goes on does
      outputs.keep(folder .. "/run", list, store)
      assert.equal("{}", files.read(folder .. "/run/outputs/metrics.json"))
      assert.equal("text", files.read(folder .. "/run/outputs/pages/inner"))
    end
    assert.equal(lfs.attributes(folder .. "/aa", "ino"),
      lfs.attributes(folder .. "/run/outputs/metrics.json", "ino"))
    assert.not_equal(lfs.attributes(folder .. "/bb/inner", "ino"),
      lfs.attributes(folder .. "/run/outputs/pages/inner", "ino"))
  end)

  it("leave out what is kept in memory alone", function()
    outputs.keep(folder .. "/run", { { name = "m", format = "memory", digest = "aa" } }, store)
    assert.is_false(files.exists(folder .. "/run/outputs/m"))
  end)
end)
